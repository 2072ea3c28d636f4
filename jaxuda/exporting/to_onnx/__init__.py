"""From JAX to ONNX; no converter of others takes all networks (docs/export.md).

translate.py goes through a program's primitives; arithmetic.py and structure.py
have an operator, or several, for each; graph.py puts them together.
"""
