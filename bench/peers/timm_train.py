"""Training by timm's own parts with the defaults of its train.py, which its package does not contain.

Runs in timm's environment, not in ours:

    PEER timm_train.py DATA MODEL --epochs N --image-size S --out summary.csv [--tuned] [--weights FILE]

Defaults as train.py's (timm 1.0): batch 128, SGD 0.05 with Nesterov 0.9, weight decay 2e-5, cosine after 5 epochs of
warm-up from 1e-5, random resized crops from 8 %, mirroring, colour jitter 0.4, label smoothing 0.1, float32; colours,
interpolation and the crop at evaluation as the network's configuration says. `--tuned`: as an expert would for short
runs on a CPU: channels last, bfloat16, batch 64, learning rate 0.1, rising from step to step in the first epoch, crops
from 60 %, and small pictures whole at evaluation.
"""

import argparse
import csv
from contextlib import nullcontext
from pathlib import Path

import torch
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.models import create_model
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2


def main(asked: argparse.Namespace) -> None:
    """Train; write the test accuracy after each epoch."""
    tuned, size = asked.tuned, (3, asked.image_size, asked.image_size)
    batch, lr, warmup, scale = (64, 0.1, 1, (0.6, 1.0)) if tuned else (128, 0.05, 5, (0.08, 1.0))
    precision = torch.autocast("cpu", torch.bfloat16) if tuned else nullcontext()
    classes = len(list(Path(asked.data, "train").iterdir()))
    model = create_model(asked.model, num_classes=classes)
    if asked.weights:
        theirs, own = torch.load(asked.weights, weights_only=True), model.state_dict()
        pairs = list(zip(own, theirs.values(), strict=True))[:-2]  # the same order under other names; a new classifier
        model.load_state_dict({**own, **dict(pairs)})
        lr = lr / 10
    how = resolve_data_config({}, model=model)
    colours = {"mean": how["mean"], "std": how["std"]}
    shown = {"interpolation": how["interpolation"], "crop_pct": 1.0 if tuned and size[1] < 64 else how["crop_pct"]}
    layout = torch.channels_last if tuned else torch.contiguous_format
    model = model.to(memory_format=layout)
    loaders = {
        part: create_loader(
            create_dataset("", asked.data, split=part, class_map="", is_training=part == "train"),
            size,
            batch,
            is_training=part == "train",
            scale=scale,
            color_jitter=0.0 if tuned else 0.4,
            **colours,
            **({"interpolation": "random"} if part == "train" else shown),
            num_workers=asked.workers,
            use_prefetcher=False,
            device=torch.device("cpu"),
        )
        for part in ("train", "val")
    }
    optimizer = create_optimizer_v2(model, opt="sgd", lr=lr, momentum=0.9, weight_decay=2e-5)
    num_steps = len(loaders["train"])
    schedule, _ = create_scheduler_v2(
        optimizer,
        "cosine",
        num_epochs=asked.epochs,
        warmup_epochs=min(warmup, asked.epochs - 1),
        warmup_lr=1e-5,
        step_on_epochs=not tuned,
        updates_per_epoch=num_steps,
    )
    criterion = LabelSmoothingCrossEntropy(0.1)
    for epoch in range(asked.epochs):
        schedule.step(epoch)  # by epochs or by steps: each call counts in one of the two forms
        model.train()
        for number, (images, labels) in enumerate(loaders["train"]):
            schedule.step_update(epoch * num_steps + number)
            with precision:
                loss = criterion(model(images.to(memory_format=layout)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        num_right = num_all = 0
        with torch.inference_mode(), precision:
            for images, labels in loaders["val"]:
                num_right += int((model(images.to(memory_format=layout)).argmax(1) == labels).sum())
                num_all += len(labels)
        with open(asked.out, "a", newline="") as file:
            csv.writer(file).writerow([epoch + 1, num_right / num_all])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tuned", action="store_true")
    main(parser.parse_args())
