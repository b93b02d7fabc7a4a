"""Attacks: what was tried to make Chaintrue write a wrong row, or call something clean that is not. Each one stays as a test."""

from tests.acceptance.conftest import warm

__all__ = ["warm"]
