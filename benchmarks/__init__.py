"""Contests with other libraries, from a checkout: not in the wheel.

python -m benchmarks.networks --help   # keras.applications, PyTorch
python -m benchmarks.detectors --help  # torchvision's Mask R-CNN
python -m benchmarks.loaders --help    # torchvision's input pipeline
"""
