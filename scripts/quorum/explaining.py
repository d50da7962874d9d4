"""Where a network looks: activation maps of one crop, and of randomised weights.

The question is the same for every method and weights: which places raise the logit, on average over
the nodule that the trained network drew? (A classifier's logit is its map's mean over the crop: see
quorum.classifying.)

grad_cam   Grad-CAM at the network's coarsest convolution (MONAI)
cam        the class activation map where the head is one convolution of 1 x 1 x 1: its weights over
           the features that it reads, before the bias
occlusion  how far that logit falls when a patch is replaced by its own mean (MONAI)

Selvaraju 2017 (10.1109/ICCV.2017.74); Zhou 2016 (10.1109/CVPR.2016.319); Zeiler 2014
(10.1007/978-3-319-10590-1_53); for segmentation: Vinogradova 2020 (10.1609/aaai.v34i10.7244).
"""

import copy

import numpy as np
import torch
from scipy import stats

METHODS = ("grad_cam", "cam", "occlusion")
OCCLUSION_BATCH = 8
RANDOMISED_SHARES = (0.25, 0.5, 0.75, 1.0)
SSIM_VOX = 7  # Wang 2004 (10.1109/TIP.2003.819861) has 8 or 11 in two dimensions


class PooledLogit(torch.nn.Module):
    """A network whose output is one number: its logit, on average over a mask and the heads.

    Parameters
    ----------
    network : torch.nn.Module
        Inputs (batch, channels, z, y, x) to logits (batch, heads, z, y, x).
    mask : bool (z, y, x)
    """

    def __init__(self, network, mask):
        super().__init__()
        self.network, self.mask = network, torch.as_tensor(mask)

    def forward(self, inputs):
        """Return the mean logit in the mask: (batch, 1)."""
        logits = self.network(inputs).mean(1)
        return logits[:, self.mask].mean(1, keepdim=True)


def convolution_sizes(network, inputs) -> dict:
    """Return the 3D convolutions in the order they run: name to the size of their output."""
    sizes, handles = {}, []

    def note(name):
        return lambda module, given, output: sizes.update({name: tuple(output.shape[2:])})

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv3d):
            handles.append(module.register_forward_hook(note(name)))
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    return sizes


def coarsest_layer(network, inputs) -> str:
    """Return the name of the last convolution on the coarsest grid of more than one voxel."""
    sizes = {k: np.prod(v) for k, v in convolution_sizes(network, inputs).items() if np.prod(v) > 1}
    least = min(sizes.values())
    return [name for name, size in sizes.items() if size == least][-1]


def plain_head(network, inputs) -> str | None:
    """Return the name of the convolution of 1 x 1 x 1 that makes the logits, None without one."""
    name = list(convolution_sizes(network, inputs))[-1]
    head, found = network.get_submodule(name), {}
    if head.kernel_size != (1, 1, 1) or head.groups != 1:
        return None
    handle = head.register_forward_hook(lambda module, given, output: found.update(out=output))
    with torch.no_grad():
        logits = network(inputs)
    handle.remove()
    is_last = found["out"].shape == logits.shape and torch.equal(found["out"], logits)
    return name if is_last else None


def grad_cam(network, inputs, mask) -> np.ndarray:
    """Return Grad-CAM for the mean logit in a mask: float32 (z, y, x), 0 or more."""
    from monai.visualize import GradCAM

    layer = f"network.{coarsest_layer(network, inputs)}"
    whole = copy.deepcopy(PooledLogit(network, mask))
    explain = GradCAM(whole, target_layers=layer, postprocessing=lambda values: values)
    return explain(inputs, class_idx=0)[0, 0].detach().numpy()


def cam(network, inputs, mask) -> np.ndarray | None:
    """Return the class activation map, float32 (z, y, x), 0 or more; None without a plain head.

    The mask plays no part: of a segmentation network the map is the logit itself without its bias.
    """
    name, found = plain_head(network, inputs), {}
    if name is None:
        return None
    head = network.get_submodule(name)
    handle = head.register_forward_hook(lambda module, given, output: found.update(seen=given[0]))
    with torch.no_grad():
        network(inputs)
        seen = torch.nn.functional.conv3d(found["seen"], head.weight)
    handle.remove()
    return seen[0].mean(0).clamp(min=0).numpy()


def occlusion_box(mask, patch_vox) -> tuple:
    """Return the slices (z, y, x) of a mask's box and half a patch around it: what is occluded."""
    shape, where = np.array(mask.shape), np.argwhere(mask)
    patch = np.minimum(patch_vox, shape)
    low = np.maximum(where.min(0) - patch // 2, 0)
    high = np.minimum(np.maximum(where.max(0) + patch // 2 + 1, low + patch), shape)
    low = np.minimum(low, high - patch)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def occlusion(network, inputs, mask, patch_vox) -> np.ndarray:
    """Return how far the mean logit in a mask falls when a patch around each voxel is flattened.

    Patches lie side by side; outside of `occlusion_box` the map is 0.

    Returns
    -------
    float32 (z, y, x), 0 or more
    """
    from monai.visualize import OcclusionSensitivity

    pooled, box = PooledLogit(network, mask), occlusion_box(mask, patch_vox)
    explain = OcclusionSensitivity(
        pooled, mask_size=np.minimum(patch_vox, mask.shape).tolist(), n_batch=OCCLUSION_BATCH,
        verbose=False, mode="mean_patch", overlap=0.0, activate=False,
    )  # fmt: skip
    with torch.no_grad():
        whole = float(pooled(inputs))
        ends = [end for window in box for end in (window.start, window.stop)]
        found = explain(inputs, b_box=ends)[0][0, 0].numpy()
    values = np.zeros(mask.shape, np.float32)
    values[box] = whole - found
    return np.maximum(values, 0)


def explain_crop(network, inputs, mask, *, methods, patch_vox) -> dict:
    """Return the maps of one crop by method; a method that the head doesn't allow is left out.

    Parameters
    ----------
    network : torch.nn.Module
    inputs : float32 (1, channels, z, y, x)
    mask : bool (z, y, x)
        What the trained network drew; not empty.
    methods : sequence of str
        Of METHODS.
    patch_vox : (int, int, int)
        For occlusion.
    """
    makers = {
        "grad_cam": lambda: grad_cam(network, inputs, mask),
        "cam": lambda: cam(network, inputs, mask),
        "occlusion": lambda: occlusion(network, inputs, mask, np.array(patch_vox)),
    }
    found = {name: makers[name]() for name in methods}
    return {name: values for name, values in found.items() if values is not None}


def randomised(network, fresh, share: float):
    """Return a copy of a network whose last layers carry the weights of a freshly drawn one.

    Parameters
    ----------
    network, fresh : torch.nn.Module
        Of one plan.
    share : float
        Of the layers with weights, from the output backwards; 1 is all of them.
    """
    layers = [name for name, module in network.named_modules() if module._parameters]
    count = max(1, round(share * len(layers)))
    changed, drawn = copy.deepcopy(network), dict(fresh.named_modules())
    for name in layers[-count:]:
        module = changed.get_submodule(name)
        module.load_state_dict(drawn[name].state_dict(), strict=False)
    return changed


def similarity(first, second) -> dict:
    """Return how alike two maps are: Spearman's rank correlation, and SSIM of both scaled to 1.

    Returns
    -------
    dict
        spearman, ssim; spearman is nan where a map is the same everywhere.
    """
    from monai.metrics.regression import compute_ssim_and_cs

    is_flat = np.ptp(first) == 0 or np.ptp(second) == 0
    pair = [torch.as_tensor(scaled(one))[None, None] for one in (first, second)]
    sizes = [min(SSIM_VOX, side) for side in first.shape]
    ssim, _ = compute_ssim_and_cs(
        *pair, spatial_dims=3, kernel_size=sizes, kernel_sigma=(1.5,) * 3, data_range=1.0,
        kernel_type="uniform",
    )  # fmt: skip
    rank = np.nan if is_flat else stats.spearmanr(np.ravel(first), np.ravel(second)).statistic
    return {"spearman": float(rank), "ssim": float(ssim.mean())}


def scaled(values) -> np.ndarray:
    """Return a map divided by its largest value; of zeros alone it stays so. float32."""
    values = np.asarray(values, np.float32)
    return values / values.max() if values.max() > 0 else values


def explain_nodule(networks, inputs, mask, *, methods, patch_vox) -> tuple:
    """Return one nodule's maps by method, those of drawn weights, and the rows of the check.

    Parameters
    ----------
    networks : (torch.nn.Module, torch.nn.Module)
        The trained one and a freshly drawn one of the same plan.
    inputs, mask, methods, patch_vox
        Of `explain_crop`.
    """
    trained = explain_crop(networks[0], inputs, mask, methods=methods, patch_vox=patch_vox)
    drawn, rows = {}, []
    for share in RANDOMISED_SHARES:
        some = [name for name in trained if name != "occlusion" or share == 1]
        other = randomised(*networks, share)
        drawn = explain_crop(other, inputs, mask, methods=some, patch_vox=patch_vox)
        for name, values in drawn.items():
            # Outside of its box occlusion says nothing.
            part = occlusion_box(mask, patch_vox) if name == "occlusion" else ...
            alike = similarity(trained[name][part], values[part])
            rows.append({"method": name, "randomised_share": share, **alike})
    return trained, drawn, rows


def explain_crops(networks, crops, *, methods, patch_vox, cube_vox) -> tuple:
    """Return the maps of some nodules on their cubes' grid, and the rows of the check.

    Parameters
    ----------
    networks : (torch.nn.Module, torch.nn.Module)
        Of `explain_nodule`.
    crops : iterable
        Of nodule_id, first voxel of the crop (z, y, x), inputs, mask.
    methods, patch_vox
        Of `explain_crop`.
    cube_vox : tuple of int
        The cubes' size, (z, y, x).

    Returns
    -------
    methods : list of str
        Those that the head allows.
    found : dict
        `map` and `random`: float32 (n, methods, z, y, x), each map scaled to 1, 0 outside the crop.
    rows : list of dict
        nodule_id, method, randomised_share, spearman, ssim.
    """
    maps, rows = [], []
    for name, start, inputs, mask in crops:
        options = {"methods": methods, "patch_vox": patch_vox}
        trained, drawn, new = explain_nodule(networks, inputs, mask, **options)
        maps.append((start, {"map": trained, "random": drawn}))
        rows += [{"nodule_id": name, **row} for row in new]
    allowed = [one for one in methods if not maps or one in maps[0][1]["map"]]
    found = {}
    for key in ("map", "random"):
        found[key] = np.zeros((len(maps), len(allowed), *cube_vox), np.float32)
        for row, (start, kinds) in enumerate(maps):
            for column, method in enumerate(allowed):
                values = kinds[key][method]
                window = [slice(a, a + n) for a, n in zip(start, values.shape, strict=True)]
                found[key][(row, column, *window)] = scaled(values)
    return allowed, found, rows
