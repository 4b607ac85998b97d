"""HAP's pre-training of a plain vision transformer on images of people.

Yuan et al., "HAP: Structure-Aware Masked Image Modeling for Human-Centric Perception", NeurIPS
2023: patches of the crop are hidden, those on parts of the body first (``masks``); an
autoencoder paints them in (``network``); two differently masked views of a person must look
alike to it (``losses``). The encoder then serves ``crowdnet.HapCrowdNet``.
"""

from smap_train.models.hap.network import HapPretraining

__all__ = ["HapPretraining"]
