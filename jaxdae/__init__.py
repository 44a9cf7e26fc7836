"""Denoisers in JAX, and a laboratory around them. The public names stand in `__init__.pyi`; each loads on first use."""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
