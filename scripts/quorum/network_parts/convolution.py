"""Convolutions with normalisation, as the networks of this project use them."""

from torch import nn


def conv_block(num_in: int, num_out: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1):
    """Return convolution, instance normalisation and ReLU; the size stays but for the stride.

    (batch, num_in, z, y, x) to (batch, num_out, z / stride, y / stride, x / stride).
    """
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv3d(
            num_in,
            num_out,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias=False,
        ),
        nn.InstanceNorm3d(num_out, affine=True),
        nn.ReLU(inplace=True),
    )


def double_conv(num_in: int, num_out: int) -> nn.Sequential:
    """Return two blocks of 3 x 3 x 3 convolution; the size stays."""
    return nn.Sequential(conv_block(num_in, num_out), conv_block(num_out, num_out))


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, with a stride or a dilation (He 2016, arXiv 1512.03385)."""

    def __init__(self, num_in: int, num_out: int, *, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            conv_block(num_in, num_out, stride=stride, dilation=dilation),
            nn.Conv3d(num_out, num_out, 3, padding=dilation, dilation=dilation, bias=False),
            nn.InstanceNorm3d(num_out, affine=True),
        )
        same = stride == 1 and num_in == num_out
        self.shortcut = nn.Identity() if same else nn.Conv3d(num_in, num_out, 1, stride=stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, image):
        """(batch, num_in, z, y, x) to (batch, num_out, ...)."""
        return self.activation(self.body(image) + self.shortcut(image))


def resize_like(image, size):
    """Return an image interpolated trilinearly to a size (z, y, x)."""
    return nn.functional.interpolate(image, size=size, mode="trilinear", align_corners=False)
