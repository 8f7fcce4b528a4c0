"""A network's stages from input to output: which learn, and how fast."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from depthwise.config import TrainConfig
from depthwise.errors import UserError
from depthwise.models.blocks import Network, stride_of


def stages(model: Network) -> list[list[nn.Module]]:
    """Return the layers that hold weights, from input to output: the stem, the stages of `blocks`, each layer after.

    The last is the classifier. Stages of `blocks` are the lines of the paper's table; where the network names none, a
    pooling ends a stage.
    """
    found: list[list[nn.Module]] = []
    for name, child in model.named_children():
        if name in model.beside:
            found[-1].append(child)  # GoogLeNet's auxiliary classifiers learn as the classifier does
        else:
            found += _split(child, model.stages) if name == "blocks" else [[child]]
    return [stage for stage in found if any(True for layer in stage for _ in layer.parameters())]


def _split(blocks: nn.Module, counts: Sequence[int]) -> Iterator[list[nn.Module]]:
    layers = list(blocks.children())
    if counts:
        starts = [0, *accumulate(counts)][:-1]
        yield from (layers[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True))
        return
    stage: list[nn.Module] = []
    for layer in layers:
        stage.append(layer)
        if stride_of(layer) > 1 and not isinstance(layer, nn.Conv2d):
            yield stage
            stage = []
    yield stage


def check_stages(model: nn.Module, name: str, config: TrainConfig) -> None:
    """Raise UserError when --freeze stages:N or --layer-decay cannot be followed with the network `name`."""
    flag = f"--freeze {config.freeze}" if config.num_frozen_stages else f"--layer-decay {config.layer_decay:g}"
    if not config.num_frozen_stages and config.layer_decay == 1:
        return
    if not isinstance(model, Network):
        raise UserError(f"{flag}: {name} is not a network of depthwise, its stages are not known")
    num_stages = len(stages(model))
    if config.num_frozen_stages >= num_stages:
        raise UserError(
            f"{flag}: {name} has {num_stages} stages, the classifier among them, which must learn; at most "
            f"stages:{num_stages - 1}"
        )


def freeze_stages(model: nn.Module, config: TrainConfig, epoch: int) -> None:
    """Let the first stages keep their weights, as `config` says for the time after `epoch` epochs; others learn."""
    if not config.num_frozen_stages:
        return
    assert isinstance(model, Network)  # check_stages has seen to it
    is_over = config.unfreeze_after is not None and epoch >= config.unfreeze_after
    for number, stage in enumerate(stages(model)):
        for layer in stage:
            layer.requires_grad_(is_over or number >= config.num_frozen_stages)


def frozen_at_first(model: nn.Module, config: TrainConfig) -> set[nn.Parameter]:
    """Return the weights that `--freeze stages:N` keeps, for some epochs or for all."""
    if not config.num_frozen_stages:
        return set()
    assert isinstance(model, Network)  # check_stages has seen to it
    first = stages(model)[: config.num_frozen_stages]
    return {parameter for stage in first for layer in stage for parameter in layer.parameters()}


def is_frozen(norm: _BatchNorm) -> bool:
    """Tell whether a batch norm belongs to layers that do not learn: then its statistics stay, too."""
    return norm.affine and not norm.weight.requires_grad


def start_learning(model: nn.Module, *, keep_statistics: bool) -> None:
    """Put the network into training mode, but for batch norm that goes on with the statistics that it has.

    That is batch norm in frozen layers; with `keep_statistics` everywhere. Weights of another data set were trained
    with that one's statistics, and a classifier on frozen layers was fitted to them: with those of small batches of
    other pictures instead, both begin as strangers.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and (keep_statistics or is_frozen(module)):
            module.eval()


def rate_factors(model: nn.Module, layer_decay: float) -> dict[nn.Parameter, float]:
    """Return each weight's factor of the learning rate: 1 in the classifier, times `layer_decay` per stage before it.

    Discriminative fine-tuning (Howard & Ruder 2018, arXiv:1801.06146, section 3.1, there 1 / 2.6 per layer); 0.65 to
    0.9 in ELECTRA (Clark et al. 2020, arXiv:2003.10555, appendix B) and BEiT (Bao et al. 2021, arXiv:2106.08254,
    appendix). Here per stage, of which a network has about ten.
    """
    if layer_decay == 1:
        return dict.fromkeys(model.parameters(), 1.0)
    assert isinstance(model, Network)  # check_stages has seen to it
    found = stages(model)
    return {
        parameter: layer_decay ** (len(found) - 1 - number)
        for number, stage in enumerate(found)
        for layer in stage
        for parameter in layer.parameters()
    }


def describe_frozen(model: nn.Module, config: TrainConfig) -> str:
    """Return one line on which stages keep their weights, and how many of all weights those are."""
    assert isinstance(model, Network)  # check_stages has seen to it
    found = stages(model)
    counts = [sum(p.numel() for layer in stage for p in layer.parameters()) for stage in found]
    num_frozen = sum(counts[: config.num_frozen_stages])
    until = f" for {config.unfreeze_after} epochs" if config.unfreeze_after else ""
    return (
        f"Frozen{until}: {config.num_frozen_stages} of {len(found)} stages, {num_frozen:,} of {sum(counts):,} weights."
    )
