"""CPU kernels for training, in numba: what PyTorch computes in several passes over memory, in as few as can be.

A training step of a small network waits for memory, not for arithmetic: a 1x1 convolution does few multiplications
per number that it reads, batch norm and activations hardly any. Each module here says which passes it saves. Tensors
are channels-last, float32 or bfloat16 in memory, float32 in registers, float64 across blocks of sums.

Results depend on the number of threads, not on their timing: each thread has a fixed part, and parts are added in
order.
`swap.fuse` puts the kernels into a network, `choice.choose` measures where they pay.
"""

from depthwise.files import settle_numba_cache

settle_numba_cache()
