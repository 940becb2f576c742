"""The authors' networks in PyTorch, timed in a process of their own.

For any Python that has PyTorch, which need not have this package: it imports
this file by its bare name, see `worker.TorchWorker`. `torch_process` is the
other end.

The modules have the names of the authors' code, so that their state dicts are
checkpoints like any other.
"""

import json

import serving
import torch
from torch import nn


class ECA(nn.Module):
    """Efficient channel attention as the authors have it: a Conv1d."""

    def __init__(self, kernel_size):
        super().__init__()
        self.conv = nn.Conv1d(
            1, 1, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        means = self.pool(x).squeeze(-1).transpose(1, 2)
        gate = self.conv(means).transpose(1, 2).unsqueeze(-1)
        return x * gate.sigmoid().expand_as(x)


def conv(inputs, outputs, size=1, stride=1, groups=1):
    """A convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(
        inputs, outputs, size, stride, size // 2, groups=groups, bias=False
    )


class Residual(nn.Module):
    """A block of a ResNet, version 1.5: two or three convolutions."""

    def __init__(self, inputs, width, stride, bottleneck, kernel_size):
        super().__init__()
        if bottleneck:
            outputs = 4 * width
            plan = [(width, 1, 1), (width, 3, stride), (outputs, 1, 1)]
        else:
            outputs = width
            plan = [(width, 3, stride), (width, 3, 1)]
        self.steps, channels = [], inputs
        for number, (filters, size, step) in enumerate(plan, 1):
            setattr(self, f"conv{number}", conv(channels, filters, size, step))
            setattr(self, f"bn{number}", nn.BatchNorm2d(filters))
            self.steps.append((f"conv{number}", f"bn{number}"))
            channels = filters
        self.eca = ECA(kernel_size) if kernel_size else None
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = x
        for number, (convolution, norm) in enumerate(self.steps):
            y = self.relu(y) if number else y
            y = getattr(self, norm)(getattr(self, convolution)(y))
        y = self.eca(y) if self.eca else y
        return self.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, depths, bottleneck, kernel_sizes, classes):
        super().__init__()
        kernel_sizes = iter(kernel_sizes or [None] * sum(depths))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, expansion = 64, 4 if bottleneck else 1
        self.stages = [f"layer{stage + 1}" for stage in range(len(depths))]
        for stage, (name, depth) in enumerate(
            zip(self.stages, depths, strict=True)
        ):
            width, blocks = 64 * 2**stage, []
            for block in range(depth):
                stride = 2 if stage and not block else 1
                blocks.append(
                    Residual(
                        *(channels, width, stride, bottleneck),
                        next(kernel_sizes),
                    )
                )
                channels = width * expansion
            setattr(self, name, nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def stem(self, x):
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(self.avgpool(x).flatten(1))


def conv_bn_relu6(inputs, outputs, size=1, stride=1, groups=1):
    """What MobileNetV2 is made of; `inputs`, `outputs`: channels."""
    return nn.Sequential(
        conv(inputs, outputs, size, stride, groups),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion, kernel_size):
        super().__init__()
        width = inputs * expansion
        parts = [conv_bn_relu6(inputs, width)] if expansion > 1 else []
        parts += [
            conv_bn_relu6(width, width, 3, stride, groups=width),
            conv(width, outputs),
            nn.BatchNorm2d(outputs),
        ]
        parts += [ECA(kernel_size)] if kernel_size else []
        self.conv = nn.Sequential(*parts)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, rows, stem, head, kernel_sizes, classes):
        super().__init__()
        kernel_sizes = iter(kernel_sizes or [None] * sum(r[2] for r in rows))
        features, channels = [conv_bn_relu6(3, stem, 3, 2)], stem
        for expansion, filters, blocks, stride in rows:
            for block in range(blocks):
                features.append(
                    InvertedResidual(
                        *(channels, filters, 1 if block else stride),
                        *(expansion, next(kernel_sizes)),
                    )
                )
                channels = filters
        self.features = nn.Sequential(*features, conv_bn_relu6(channels, head))
        # Dropout comes first, so that the classifier's name is the authors'.
        self.classifier = nn.Sequential(
            nn.Dropout(0.0), nn.Linear(head, classes)
        )

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


NETWORKS = {"resnet": ResNet, "mobilenet_v2": MobileNetV2}


class Server:
    """Answers requests about one network.

    Args:
        kind: A key of `NETWORKS`.
        image_size: Height and width in pixels.
        threads: Threads that a call may use.
        **arguments: Of the network.
    """

    def __init__(self, kind, image_size, threads, **arguments):
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        self.network = NETWORKS[kind](**arguments)
        self.image_size = image_size
        self.steps = {}
        # A fresh network hardly looks at its input, and would agree with
        # any other one.
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.normal_(module.bias, 0, 0.1)

    def about(self):
        count = sum(w.numel() for w in self.network.parameters())
        return {"version": torch.__version__, "parameters": count}

    def save(self, path):
        torch.save(self.network.state_dict(), path)
        return {}

    def answer(self, seed):
        """Noise, channels last, and the logits for it."""
        images = torch.randn(
            (2, 3, self.image_size, self.image_size),
            generator=torch.Generator().manual_seed(seed),
        )
        self.network.eval()
        with torch.inference_mode():
            logits = self.network(images)
        return {
            "images": images.permute(0, 2, 3, 1).tolist(),
            "logits": logits.tolist(),
        }

    def time(self, task, batch_size):
        """Seconds of one call, on the clock and of the processor."""
        if (task, batch_size) not in self.steps:
            images = torch.randn((batch_size, 3) + 2 * (self.image_size,))
            make = {"inference": self.inference, "training": self.training}
            self.steps[task, batch_size] = make[task](images)
        return serving.timed(self.steps[task, batch_size])

    def inference(self, images):
        def step():
            self.network.eval()
            with torch.inference_mode():
                return self.network(images)

        return step

    def training(self, images):
        optimizer = torch.optim.SGD(
            self.network.parameters(), 1e-4, momentum=0.9
        )
        with torch.inference_mode():
            shape = self.network(images).shape
        targets = torch.randn(shape)

        def step():
            self.network.train()
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.network(images), targets)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step


def main(specification):
    """Answer requests.

    Args:
        specification: The arguments of `Server` as JSON.
    """
    serving.serve(Server(**json.loads(specification)))
