"""Widths of the networks that timm's `*_pruned` weights are of.

They were pruned as in Aflalo et al. 2020, "Knapsack Pruning with Inner
Distillation" (https://arxiv.org/abs/2002.08258). The numbers are those of the
weights (timm/ecaresnet50d_pruned.miil_in1k and
timm/ecaresnet101d_pruned.miil_in1k on the Hugging Face hub).
"""


def _stage(outputs, *inner):
    """Widths of the blocks of a stage, all of which have the same outputs."""
    return tuple((*widths, outputs) for widths in inner)


PRUNED_50D = (
    _stage(19, (47, 18), (52, 22), (64, 35)),
    _stage(171, (85, 37), (107, 80), (120, 85), (125, 87)),
    _stage(
        818,
        *((198, 126), (255, 232), (256, 233)),
        *((253, 235), (256, 225), (256, 239)),
    ),
    _stage(2022, (492, 237), (512, 500), (512, 490)),
)

PRUNED_101D = (
    _stage(26, (45, 25), (53, 20), (60, 27)),
    _stage(142, (81, 24), (93, 49), (102, 54), (122, 78)),
    _stage(
        278,
        *((101, 25), (239, 160), (234, 156), (250, 176), (253, 191)),
        *((251, 175), (230, 128), (244, 154), (244, 159), (238, 97)),
        *((244, 149), (253, 181), (245, 119), (255, 216), (256, 201)),
        *((253, 149), (254, 141), (256, 190), (256, 217), (255, 156)),
        *((256, 155), (256, 232), (256, 214)),
    ),
    _stage(2042, (499, 289), (512, 512), (512, 502)),
)
