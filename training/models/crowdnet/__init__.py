"""3DCrowdNet: the SMPL body of one person in a crowd, guided by that person's 2D pose.

Choi et al., "Learning to Estimate Robust 3D Human Mesh from In-the-Wild Crowded Scenes", CVPR
2022: the 2D pose picks the person out of the crop (``guidance``), joints are found in 2.5D
(``position``), a graph network over them gives pose, shape and camera (``rotation``,
``vposer``), and these the mesh (``body``). ``HapCrowdNet`` has the plain vision transformer of
Yuan et al., "HAP: Structure-Aware Masked Image Modeling for Human-Centric Perception", NeurIPS
2023, instead of a ResNet-50.
"""

from smap_train.models.crowdnet.network import CrowdNet, HapCrowdNet

__all__ = ["CrowdNet", "HapCrowdNet"]
