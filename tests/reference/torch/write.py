"""Writes the small PyTorch files beside it: `python write.py [FOLDER]`.

It needs torch (what is committed is of 2.13.0, on a CPU) and safetensors. All
values are formulas, which tests/torch_weights/test_torch_files.py computes with
NumPy; nothing is random. A second run writes the same values; the bytes of the
legacy files differ, as torch puts the addresses of its storages into them.

    zip.pth, legacy.pth   a state dict, in torch's format since 1.6 and before
    weights.safetensors   the same tensors
    nested.pth            a checkpoint: state dict, optimizer, epoch
    args.pth              the same behind an argparse.Namespace, legacy format
    tensor.pth            a tensor without a name
    TYPE.pth              a tensor of a type that no weight has
    code.pth, code_legacy.pth
                          they run code where a pickle is trusted: it creates
                          the empty file `code_ran` in the working directory
"""

import argparse
import pathlib
import sys

import safetensors.torch
import torch


class RunsCode:
  """Something whose unpickling is a call."""

  def __reduce__(self):
    return exec, ("open('code_ran', 'w').close()",)


def ramp(start, *shape):
  """Return start/8, (start + 1)/8 and so on: exact in 16 bits up to 256/8."""
  values = torch.arange(start, start + torch.Size(shape).numel())
  return (values / 8).reshape(shape)


def state_dict():
  """Return what a module's state_dict() gives, and tensors stored oddly."""
  net = torch.nn.Sequential(
    torch.nn.Conv2d(2, 3, (1, 2)), torch.nn.BatchNorm2d(3)
  )
  state = torch.nn.DataParallel(net).state_dict()  # ordered, with _metadata
  for i, tensor in enumerate(state.values()):
    if tensor.is_floating_point():
      tensor.copy_(ramp(16 * i, *tensor.shape))
    else:
      tensor.fill_(2**40)
  state['float16'] = ramp(100, 2, 2).half()
  state['bfloat16'] = ramp(110, 2, 2).bfloat16()
  for dtype in (torch.float32, torch.float16, torch.bfloat16):
    limits = torch.finfo(dtype)
    smallest = limits.smallest_normal * limits.eps  # subnormal
    name = str(dtype).removeprefix('torch.')
    state[f'limits.{name}'] = torch.tensor(
      [-0.0, smallest, limits.min, limits.max], dtype=dtype
    )
  state['scalar'] = torch.tensor(0.625)
  state['empty'] = torch.zeros(0, 3)
  state['transposed'] = ramp(120, 3, 4).T
  state['every_second'] = ramp(140, 10)[1::2]
  shared = ramp(160, 8)  # one storage, of which two tensors share three numbers
  state['shared.first'] = shared[:6]
  state['shared.second'] = shared[3:7].reshape(2, 2)
  state['größe.重み'] = ramp(170, 2)
  return state


def checkpoint():
  """Return what a training script of the time saved, after one step."""
  weight = torch.nn.Parameter(ramp(0, 4))
  optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.75)
  weight.grad = ramp(8, 4)
  optimizer.step()
  return {
    'epoch': 3,
    'state_dict': {'module.weight': weight.detach()},
    'optimizer': optimizer.state_dict(),
  }


def main(folder):
  """Write every file."""
  folder = pathlib.Path(folder)

  def save(name, content, legacy=False):
    torch.save(
      content,
      folder / f'{name}.pth',
      _use_new_zipfile_serialization=not legacy,
    )

  state = state_dict()
  save('zip', state)
  save('legacy', state, legacy=True)
  safetensors.torch.save_file(
    {
      key: tensor.clone(memory_format=torch.contiguous_format)
      for key, tensor in state.items()
    },
    folder / 'weights.safetensors',
  )
  save('nested', checkpoint())
  args = argparse.Namespace(learning_rate=2.5e-4, restore_from='init.pth')
  save('args', {'args': args} | checkpoint(), legacy=True)
  save('tensor', ramp(3, 2, 3))
  for dtype in (torch.float64, torch.int64, torch.bool):
    save(str(dtype).removeprefix('torch.'), {'weight': ramp(0, 2).to(dtype)})
  save('code', {'weight': RunsCode()})
  save('code_legacy', {'weight': RunsCode()}, legacy=True)


if __name__ == '__main__':
  main(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
