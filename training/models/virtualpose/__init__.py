"""VirtualPose: absolute 3D poses from one image, by an abstraction that can be learnt virtually.

Su et al., "VirtualPose: Learning Generalizable 3D Human Pose Models from Virtual Data",
ECCV 2022. Three parts:

- ``backbone``: the image becomes joint heatmaps and boxes, the abstract representation;
- ``model.RootEstimation`` (REN): people's root joints, found in a cube of the world into which
  the heatmaps are projected;
- ``model.PoseEstimation`` (PEN): everybody's joints, each person in a cube of their own.

Lengths are millimetres and the world's z axis points up here, as in the official weights; the
rest of the project uses metres and the camera's optical frame.
"""
