"""Compiler options of our own layers.

platform/ and sentry/ build with RINGFENCE_COPTS: errors are values there, never exceptions.
RTTI stays on in the object files, because a test compiled with it may derive from a class of
such a library; `make check` refuses dynamic_cast and typeid instead.
"""

RINGFENCE_COPTS = ["-fno-exceptions"]
