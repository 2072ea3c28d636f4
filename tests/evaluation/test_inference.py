"""Uncertainty of predictions; protocols are in tests/fidelity."""

import numpy as np
import pytest

from jaxuda.evaluation import inference


def test_entropy_by_hand():
  uniform = inference.entropy(np.full((2, 19), 1 / 19))
  np.testing.assert_allclose(uniform, 1, rtol=1e-6)
  np.testing.assert_array_equal(inference.entropy(np.eye(4)), np.zeros(4))
  # A half and two quarters: 1.5 bits of the 2 bits of four classes.
  p = np.array([[[0.5, 0.25, 0.25, 0.0]]], np.float32)
  np.testing.assert_allclose(inference.entropy(p), [[0.75]], rtol=1e-6)


def test_entropy_never_leaves_its_range():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.full(19, 1e3), (50, 50)).astype(np.float32)
  entropy = inference.entropy(p)
  assert entropy.dtype == np.float32 and entropy.max() <= 1
  assert float(entropy.mean()) == pytest.approx(1, abs=1e-3)
