"""Compare with the published code: python benchmarks/published.py --monodle DIR --openpcdet DIR --monodetr DIR ...

Runs functions of the originals (checkouts of xinzhuma/monodle, open-mmlab/OpenPCDet, ZrrSkywalker/MonoDETR, and the
folder code of SuperMHP/GUPNet) and this project's on the same inputs, with weights copied across, and prints a table.
Each folder is optional. Kornia, which OpenPCDet's CaDDN needs (0.5.8 is of its time; later ones return other shapes),
and torchvision (of this torch) may lie in a folder given by --packages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from published_code import Compiled, Row, declare_torchvision, original
from published_monodetr import monodetr_decoder
from published_monodetr_training import MONODETR_TRAINING

from add_model.classes import KITTI_CLASSES
from add_model.detections import Detections
from add_model.detectors.caddn.anchors import encode_residuals
from add_model.detectors.caddn.depth_targets import mean_of_all, mean_of_known, nearest_known
from add_model.detectors.caddn.features import AnchorOutputs
from add_model.detectors.caddn.loss import caddn_loss
from add_model.detectors.depth_bins import DepthBins
from add_model.detectors.keypoint_encoder import gaussian_radius, published_radius
from add_model.detectors.monodle.loss import monodle_loss
from add_model.nms import nms
from training.data.kitti.labels import read_objects
from training.pretrained import initial_detector
from training.task_learning import WAITS_FOR, fall, task_weights


def monodle_losses(root: Path) -> Iterator[Row]:
    """The losses of two views with four objects, of which the second one is cropped and has no 3D losses."""
    loss = original(root, "lib.losses.centernet_loss")
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    sizes = {"size_2d": 2, "offset_2d": 2, "offset_3d": 2, "size_3d": 3, "heading": 24, "depth": 2}
    maps = {name: draw(2, n, 24, 80) for name, n in sizes.items()} | {"heatmap": draw(2, 3, 24, 80)}
    maps["size_3d"] += 2.0
    cells = torch.randint(0, 24 * 80, (2, 4), generator=rng)
    label = torch.tensor([[0, 1, 2, 0], [0, 0, 1, 2]])
    mean = torch.tensor(KITTI_CLASSES.mean_sizes)
    target = {"depth": draw(2, 4).abs() * 20 + 3, "size_2d": draw(2, 4, 2).abs() * 9, "offset_2d": draw(2, 4, 2)}
    target |= {"offset_3d": torch.rand(2, 4, 2, generator=rng), "heading_residual": draw(2, 4) * 0.1}
    target |= {"heading_bin": torch.randint(0, 12, (2, 4), generator=rng), "label": label, "cell": cells}
    full = mean[label] * (1 + 0.1 * draw(2, 4, 3))
    heatmap = torch.zeros(2, 3, 24 * 80).index_put((torch.arange(2)[:, None], label, cells), torch.ones(()))
    heatmap = heatmap.unflatten(2, (24, 80))
    mask, mask_3d = torch.ones(2, 4, dtype=torch.bool), torch.tensor([[True] * 4, [False] * 4])
    theirs_target = {"heatmap": heatmap, "indices": cells, "mask_2d": mask, "mask_3d": mask_3d, "size_3d": full}
    theirs_target |= {"depth": target["depth"][..., None], "heading_res": target["heading_residual"][..., None]}
    theirs_target |= {"heading_bin": target["heading_bin"][..., None]}
    theirs_target |= {name: target[name] for name in ("size_2d", "offset_2d", "offset_3d")}
    _, theirs = loss.compute_centernet3d_loss({k: v.clone() for k, v in maps.items()}, theirs_target)
    at = {k: v.flatten(2).gather(2, cells[:, None].expand(-1, v.shape[1], -1)).mT for k, v in maps.items()}
    coded, spread = at["depth"].unbind(-1)
    outputs = {k: at[k] for k in ("size_2d", "offset_2d", "offset_3d", "heading")}
    outputs |= {"depth": 1 / (coded.sigmoid() + 1e-6) - 1, "log_variance": 2 * spread}
    outputs["size_3d"] = at["size_3d"] - mean[label]
    targets = target | {"size_3d": full - mean[label], "heatmap": heatmap, "mask": mask}
    targets["ignore"] = torch.zeros_like(heatmap, dtype=torch.bool)
    published = monodle_loss(maps["heatmap"], outputs, targets | {"mask_3d": mask_3d}, mean)
    every = monodle_loss(maps["heatmap"], outputs, targets | {"mask_3d": mask}, mean)
    names = {"seg": "heatmap"} | {
        name.replace("_", ""): name for name in ("offset_2d", "size_2d", "offset_3d", "size_3d")
    }
    for name, own in (names | {"depth": "depth", "heading": "heading"}).items():
        yield f"MonoDLE, loss of {own}", "2 views, one cropped", theirs[name], float(published[own]), float(every[own])


def heatmap_radius(root: Path, labels: Path) -> Iterator[Row]:
    """The mean radius of the peaks of labelled cars, in cells of 4 pixels."""
    theirs = original(root, "lib.datasets.utils").gaussian_radius
    sides = []
    for path in sorted(labels.glob("*.txt")):
        objects = read_objects(path)
        sides += [box[[3, 2]] - box[[1, 0]] for box in objects.boxes2d[objects.names == "Car"] / 4]
    height, width = np.array(sides).T
    radii = [np.mean([int(theirs((h, w))) for h, w in zip(height, width, strict=True)])]
    radii += [np.mean(radius(height, width).astype(int)) for radius in (published_radius, gaussian_radius)]
    yield "MonoDLE, radius of a car's peak", f"{len(sides)} cars", *map(float, radii)


def caddn_losses(root: Path) -> Iterator[Row]:
    """The losses of anchors of two images, with 40 and 3 positive ones, and of a depth map known at a third of it."""
    packages = ("pcdet", "pcdet.models", "pcdet.models.dense_heads")
    head = original(root, "pcdet.models.dense_heads.anchor_head_template", *packages).AnchorHeadTemplate
    tools = original(root, "pcdet.utils.loss_utils")
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    count, classes = 1200, 3
    anchors = torch.cat([draw(count, 3) * 9, torch.tensor([3.9, 1.6, 1.56]).expand(count, 3), torch.zeros(count, 1)], 1)
    anchors[1::2, 6] = 1.57
    owner = torch.full((2, count), -1)
    owner[:, ::7] = -2
    owner[0, 1:281:7], owner[1, 1:22:7] = 0, 1  # 40 and 3 anchors, of a car each
    boxes = torch.tensor([[[1.0, 1, 20, 4, 1.7, 1.5, 0.3], [3, 1, 9, 3.6, 1.6, 1.4, -2.0]]]).expand(2, -1, -1)
    outputs = AnchorOutputs(draw(2, count, classes), draw(2, count, 7) * 0.5, draw(2, count, 2))
    rows = owner.clamp(min=0)
    residuals, _ = encode_residuals(boxes.gather(1, rows[..., None].expand(-1, -1, 7)), anchors.expand(2, -1, -1))
    state = {"cls_preds": outputs.class_logits, "box_preds": outputs.residuals, "box_reg_targets": residuals}
    state |= {"box_cls_labels": torch.where(owner >= 0, 1, torch.where(owner == -2, -1, 0))}
    state |= {"dir_cls_preds": outputs.direction_logits}
    weights = {"cls_weight": 1.0, "loc_weight": 2.0, "dir_weight": 0.2, "code_weights": [1.0] * 7}
    model = SimpleNamespace(LOSS_CONFIG=SimpleNamespace(LOSS_WEIGHTS=weights), DIR_OFFSET=0.78539, NUM_DIR_BINS=2)
    self = SimpleNamespace(forward_ret_dict=state, num_class=classes, model_cfg=model, anchors=anchors)
    self.use_multihead, self.num_anchors_per_location = False, 1
    self.cls_loss_func = tools.SigmoidFocalClassificationLoss(alpha=0.25, gamma=2.0)
    self.reg_loss_func = tools.WeightedSmoothL1Loss(code_weights=[1.0] * 7)
    self.dir_loss_func = tools.WeightedCrossEntropyLoss()
    self.add_sin_difference, self.get_direction_target = head.add_sin_difference, head.get_direction_target
    theirs = {"label": float(head.get_cls_layer_loss(self)[0])}
    parts = head.get_box_reg_layer_loss(self)[1]
    theirs |= {"box": parts["rpn_loss_loc"], "direction": parts["rpn_loss_dir"]}

    folder = "pcdet.models.backbones_3d.vfe.image_vfe_modules.ffn.ddn_loss"
    above = [".".join(folder.split(".")[:n]) for n in range(3, 8)]
    ddn = original(root, f"{folder}.ddn_loss", *above).DDNLoss
    kind = {"mode": "LID", "num_bins": 80, "depth_min": 2.0, "depth_max": 46.8}
    depth_loss = ddn(3.0, 0.25, 2.0, kind, 13, 1, 1)
    logits, bins = draw(2, 81, 24, 80), DepthBins(80, 2.0, 46.8)
    pixels = (torch.rand(2, 96, 320, generator=rng) * 50 + 1).numpy()
    boxes2d = torch.tensor([[[10.0, 5, 30, 20]], [[50, 2, 60, 9]]])
    foreground = tools.compute_fg_mask(boxes2d.clone(), (2, 24, 80))
    known = torch.rand(2, 24, 80, generator=rng) < 0.4
    for share, shown in ((1.0, torch.ones_like(known)), (known.float().mean().item(), known)):
        cells = torch.from_numpy(pixels.reshape(2, 24, 4, 80, 4).mean((2, 4))) * shown
        found = float(depth_loss(logits, cells.clone(), boxes2d.clone())[0])
        thin = pixels * np.kron(shown.numpy(), np.ones((4, 4)))
        losses = []
        ways = [(True, mean_of_known), (False, nearest_known)]
        for published, encode in [(True, mean_of_all), *ways]:
            target = {"anchor_object": owner, "label": torch.zeros(2, 2, dtype=torch.long), "box": boxes}
            target["depth_bin"] = torch.from_numpy(np.stack([encode(d, 4, bins, 1.0) for d in thin]))
            target["depth_foreground"] = foreground
            losses.append(caddn_loss(outputs, logits, target, anchors, published_means=published))
        if share == 1.0:
            for name, value in theirs.items():
                own = (float(part[name]) for part in losses[1:])
                yield f"CaDDN, loss of {name}", "2 images, 40 and 3 positive anchors", value, *own
        what = f"depth known in {share:.0%} of the cells"
        completed, *sparse = (float(part["depth_map"]) for part in losses)
        yield "CaDDN, loss of depth_map, sparse maps", what, found, *sparse
        yield "CaDDN, loss of depth_map, completed maps", what, found, completed, float("nan")


def caddn_start(packages: Path) -> Iterator[Row]:
    """Of torchvision's DeepLabV3 with random weights, by its file: the means of its features and of its head's."""
    from torchvision.models.segmentation import deeplabv3_resnet101

    torch.manual_seed(0)
    network = deeplabv3_resnet101(weights=None, weights_backbone=None, aux_loss=True).eval()
    path = packages / "deeplab.pth"
    torch.save(network.state_dict(), path)
    frustum = initial_detector("caddn_resnet101", str(path)).eval().frustum
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        last, own = network.backbone(image)["out"], frustum.backbone(image)[-1]
        parts = [branch(last) for branch in frustum.head.branches]
        parts.append(frustum.head.whole(last.mean((2, 3), keepdim=True)).expand_as(parts[0]))
        head = frustum.head.last[:3](frustum.head.join(torch.cat(parts, 1)))
        theirs = torch.nn.Sequential(*list(network.classifier)[:4])(last)
    yield "CaDDN's start, backbone", "torchvision's DeepLabV3", float(last.mean()), float(own.mean()), float("nan")
    yield "CaDDN's start, head", "torchvision's DeepLabV3", float(theirs.mean()), float(head.mean()), float("nan")


def task_learning(root: Path) -> Iterator[Row]:
    """The weights of GUPNet's losses, which fall along exponentials with noise."""
    theirs = original(root, "lib.losses.loss_function").Hierarchical_Task_Learning
    names = {"seg_loss": "heatmap"} | {
        f"{name.replace('_', '')}_loss": name for name in (*WAITS_FOR, *WAITS_FOR["depth"])
    }
    rng = np.random.default_rng(0)
    passes = {name: 1 + 9 * np.exp(-np.arange(140) / 20) + 0.02 * rng.standard_normal(140) for name in names.values()}
    given = [{term: torch.tensor(passes[name][n]) for term, name in names.items()} for n in range(140)]
    weigher, apart, first = theirs(given[0]), 0.0, {}
    for epoch, losses in enumerate(given):
        published = weigher.compute_weight(losses, epoch)
        if epoch < 5:
            continue
        window = {name: list(values[epoch - 5 : epoch]) for name, values in passes.items()}
        first = first or {name: fall(values) for name, values in window.items()}
        own = task_weights(window, first, (epoch - 5) / 135)
        found = {name: float(published[term]) for term, name in names.items()}
        apart = max(apart, *(abs(found[name] - value) for name, value in own.items()))
        if epoch in (10, 40, 100):
            yield "GUPNet, weight of depth", f"epoch {epoch}", found["depth"], own["depth"], float("nan")
    yield "GUPNet, weights of losses, apart by", "135 epochs", 0.0, apart, float("nan")


def suppression(labels: Path) -> Iterator[Row]:
    """The share of perfect detections that the default suppression removes, per cent."""
    found, kept = dict.fromkeys(KITTI_CLASSES.names, 0), dict.fromkeys(KITTI_CLASSES.names, 0)
    for path in sorted(labels.glob("*.txt")):
        objects = read_objects(path)
        objects = objects[np.isin(objects.names, KITTI_CLASSES.names)]
        perfect = Detections(
            objects.names, np.ones(len(objects)), objects.boxes, objects.boxes2d, np.ones(len(objects))
        )
        for counts, some in ((found, perfect), (kept, nms(perfect))):
            for name in some.names:
                counts[name] += 1
    for name, count in found.items():
        lost = 100 * (1 - kept[name] / count) if count else float("nan")
        yield f"perfect {name} detections lost, %", f"{count} labels", 0.0, 0.0, lost


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("monodle", "openpcdet", "monodetr", "gupnet", "packages", "labels"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    options = parser.parse_args()
    if options.packages:
        sys.path.append(str(options.packages))
    sys.meta_path.insert(0, Compiled("pcdet.ops", "MultiScaleDeformableAttention"))
    torch.Tensor.cuda = lambda tensor: tensor  # the originals ask for a GPU; all is compared on the CPU
    torch.cuda.current_device = lambda: 0
    declared = declare_torchvision() if options.packages else None
    checks = []
    if options.labels:
        checks.append(suppression(options.labels))
    if options.monodle:
        checks.append(monodle_losses(options.monodle))
        checks += [heatmap_radius(options.monodle, options.labels)] if options.labels else []
    if options.openpcdet:
        checks.append(caddn_losses(options.openpcdet))
        checks += [caddn_start(options.packages)] if options.packages else []
    if options.monodetr:
        checks += [check(options.monodetr) for check in (monodetr_decoder, *MONODETR_TRAINING)]
    if options.gupnet:
        checks.append(task_learning(options.gupnet))
    print("| what | input | original | ours, published size | ours otherwise |\n|---|---|---|---|---|")
    for check in checks:
        for what, given, *values in check:
            print(f"| {what} | {given} | {' | '.join('' if np.isnan(v) else f'{v:.6g}' for v in values)} |", flush=True)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("lib", "utils", "pcdet")]:
            del sys.modules[name]
    del declared
    return 0


if __name__ == "__main__":
    sys.exit(main())
