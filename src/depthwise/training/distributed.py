"""Many processes that train one network: plain torch.distributed, found in the environment that torchrun sets."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from depthwise.data.order import batch_sizes
from depthwise.errors import UserError

T = TypeVar("T")
SETUP_TIMEOUT = timedelta(minutes=30)
"""For what one process may do while the others wait: splitting, decoding, writing a checkpoint to a slow disk."""
STEP_TIMEOUT = timedelta(seconds=60)
"""For what all do alike; longer silence means that a process is gone."""


@dataclass(frozen=True)
class Group:
    """The processes of a run, as one of them sees them. Alone it is `Group()`: every call is answered at once."""

    rank: int = 0
    """Which process this is; number 0 reads and writes the run folder and talks to the user."""
    size: int = 1
    """How many there are."""
    setup: Any = None
    """torch's handle for calls with SETUP_TIMEOUT."""
    steps: Any = None
    """torch's handle for calls with STEP_TIMEOUT."""

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes.

        One call for all of them, laid end to end. Every process gets the same bits, and gets them again when the run is
        repeated: each element is added up in an order that depends on its place and the number of processes only.
        """
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._others():
            dist.all_reduce(flat, group=self.steps)
        for tensor, piece in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(piece.view_as(tensor))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set in any process: the same answer in all of them."""
        if self.size == 1:
            return flags
        counts = torch.tensor(flags, dtype=torch.int32)
        with self._others():
            dist.all_reduce(counts, group=self.steps)
        return tuple(bool(count) for count in counts)

    def first(self, function: Callable[[], T]) -> T:
        """Let process 0 call `function`, and return its result in all. Its UserError ends all of them."""
        if self.size == 1:
            return function()
        box: list[Any] = [None, False]
        error: UserError | None = None
        if self.rank == 0:
            try:
                box[0] = function()
            except UserError as caught:
                error, box[1] = caught, True
        with self._others():
            dist.broadcast_object_list(box, src=0, group=self.setup)
        if error:
            raise error
        if box[1]:
            raise self.as_first()
        result: T = box[0]
        return result

    def as_first(self) -> UserError:
        """Return the error of a process whose process 0 says what is wrong."""
        return UserError(f"process {self.rank} of {self.size} ends, as process 0 did")

    def meet(self) -> None:
        """Wait for all, as long as set-up may take: before steps, after what takes each its own time."""
        self.first(lambda: None)

    def gather(self, value: T) -> list[T]:
        """Return every process's `value`, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._others():
            dist.all_gather_object(values, value, group=self.setup)
        return values

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the contents of process 0's tensors."""
        for tensor in tensors if self.size > 1 else ():
            whole = tensor.detach().contiguous()
            with self._others():
                dist.broadcast(whole, src=0, group=self.setup)
            tensor.detach().copy_(whole)

    @contextmanager
    def _others(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # what torch raises for a closed connection and for silence
            raise UserError(
                f"process {self.rank} of {self.size} lost the others: one of them ended, or was silent for "
                f"{STEP_TIMEOUT.total_seconds():g} s ({str(error).splitlines()[0]}).\n"
                "What was saved is whole: start all of them again, with --resume."
            ) from error


ALONE = Group()


@contextmanager
def join(device: str) -> Iterator[Group]:
    """Yield the group that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or `ALONE` without one.

    gloo carries what lies in memory, NCCL what lies on a GPU. Raises UserError when the others do not come, or when the
    environment is incomplete.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    try:
        store, rank, size = next(rendezvous("env://", timeout=SETUP_TIMEOUT))
        fresh = PrefixStore(_name_start(store, rank, size), store)
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=fresh, rank=rank, world_size=size, timeout=SETUP_TIMEOUT)
        steps = dist.new_group(timeout=STEP_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the {os.environ['WORLD_SIZE']} processes of this run did not find each other: {error}\n"
            "Start them with torchrun: torchrun --nproc-per-node 2 -m depthwise train ..."
        ) from error
    try:
        yield Group(rank, size, dist.group.WORLD, steps)
    finally:
        dist.destroy_process_group()


def _name_start(store: Any, rank: int, size: int) -> str:
    """Return a name for this start that all its processes agree on, and none of an earlier start.

    After a restart torchrun (of torch 2.13) hands out the same store, with the addresses of processes that are dead.
    So process 0 makes up a name and tells it to whoever asks with a number of its own: an answer cannot be an old one.
    """
    own = secrets.token_hex(8)
    if rank:
        store.set(f"ask/{rank}", own)
        name = str(store.get(f"answer/{own}").decode())
        store.set(f"heard/{name}/{rank}", "")
        return name
    waiting, deadline = set(range(1, size)), time.monotonic() + SETUP_TIMEOUT.total_seconds()
    while waiting:
        for other in sorted(waiting):
            if store.check([f"ask/{other}"]):
                store.set(f"answer/{store.get(f'ask/{other}').decode()}", own)
            if store.check([f"heard/{own}/{other}"]):
                waiting.remove(other)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(waiting)} did not come within {SETUP_TIMEOUT}")
        time.sleep(0.01)
    return own


def local_device(device: str) -> torch.device:
    """Return this process's own device: of several GPUs, the one that LOCAL_RANK numbers."""
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
        return place
    return torch.device(device)


def check_parts(num_images: int, batch_size: int, num_processes: int, accumulate: int) -> None:
    """Raise UserError when a part of a batch would hold fewer than 2 pictures: batch norm needs several."""
    smallest = min(batch_sizes(num_images, batch_size))
    if num_processes * accumulate == 1 or smallest >= 2 * num_processes * accumulate:
        return
    room = smallest // 2
    found = f"{num_images:,} training pictures in batches of {batch_size} leave a smallest batch of {smallest}"
    if room < accumulate:
        raise UserError(
            f"{found}: too few for --accumulate {accumulate}, which needs 2 in each part; at most --accumulate "
            f"{max(1, room)}, in 1 process. Or take a larger --batch-size."
        )
    most = room // accumulate
    raise UserError(
        f"{found}: too few for {num_processes} processes with --accumulate {accumulate}, which need 2 in each part; "
        f"at most {most} process{'es' if most > 1 else ''}. Or take a larger --batch-size."
    )
