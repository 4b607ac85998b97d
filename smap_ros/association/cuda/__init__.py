"""SMAP's association and lifting on an NVIDIA GPU: kernels, their memory, and how they are run.

``kernels.cu`` holds the kernels, :mod:`.layout` the memory they share with Python, and
:mod:`.program` the order and shape of their launches. Results equal those of the numpy code
(:mod:`smap_ros.association`, :mod:`smap_ros.estimators.smap.lifting`) to the last bit.
"""
