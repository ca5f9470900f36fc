"""Builds the compiled core: every core_ext/*.pyx becomes one extension module.

Called by pip, by ``python -m build`` and by ``make setup``. Everything that is not compilation
(name, pins, entry points, package data) stands in pyproject.toml.

Environment:
    GATEJOIN_DEBUG=1                     no optimisation, assertions on, symbols
    GATEJOIN_SANITIZE=address,undefined  gcc's or clang's sanitizers; run Python with the matching
                                         run-time library preloaded and PYTHONMALLOC=malloc
    CC                                   the compiler, gcc (default) or clang

Wheels must run on any machine of their architecture: never -march=native; instruction sets are
chosen at run time, inside the C headers.
"""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

ROOT = Path(__file__).resolve().parent
CORE = Path("core_ext")

debug = os.environ.get("GATEJOIN_DEBUG", "") not in ("", "0")
sanitize = os.environ.get("GATEJOIN_SANITIZE", "")

compile_arguments = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    # Cython's own output, not our headers, trips these.
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    "-Wno-cast-function-type",
    "-Wno-unused-function",
    "-fvisibility=hidden",
    # Bytes of a record are read as integers in many places; memcpy does it, and this makes a
    # forgotten one slow instead of wrong.
    "-fno-strict-aliasing",
]
link_arguments: list[str] = []
if debug:
    compile_arguments += ["-O0", "-g3", "-UNDEBUG", "-DGATEJOIN_DEBUG=1"]
else:
    compile_arguments += ["-O1" if sanitize else "-O3", "-g1"]
if sanitize:
    switches = [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    compile_arguments += switches
    link_arguments += switches


class BuildCore(build_ext):
    """Compiles the core, again when the switches above changed, and says plainly what failed."""

    def finalize_options(self) -> None:
        """Compile side by side, and for an editable installation where ``build_ext --inplace``
        finds it again; pip would have it compiled in a directory that it throws away."""
        super().finalize_options()
        self.parallel = self.parallel or True
        if self.editable_mode:
            lasting = build(self.distribution)
            lasting.ensure_finalized()
            self.build_lib, self.build_temp = lasting.build_platlib, lasting.build_temp

    def run(self) -> None:
        """Build what is out of date; everything if the switches differ from the last build's."""
        # Modules of a debug or sanitizer build are newer than their sources too, so by their
        # time stamps alone they would pass for the others.
        signature = "\n".join([os.environ.get("CC", ""), *compile_arguments, *link_arguments])
        record = Path(self.build_temp) / "compile-switches.txt"
        if not record.exists() or record.read_text() != signature:
            self.force = True
            record.unlink(missing_ok=True)
        super().run()
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(signature)

    def build_extension(self, extension: Extension) -> None:
        """Compile one extension module; end with one clear line if that fails."""
        try:
            super().build_extension(extension)
        except (CompileError, LinkError) as error:
            raise SystemExit(
                f"gatejoin: {extension.name} could not be compiled; the compiler's own words are"
                " above. If there are none: install a C compiler and Python's headers (apt-get"
                f" install gcc libc6-dev python3-dev), or set CC. It was: {error}"
            ) from error


# Extension modules include the headers they name, and headers include one another: any edit of a
# header rebuilds all, which is a minute at most and never wrong.
headers = sorted(str(path) for path in CORE.glob("*.h"))

extensions = cythonize(
    [
        Extension(
            f"core_ext.{source.stem}",
            [str(source)],
            include_dirs=[str(CORE)],
            depends=headers,
            extra_compile_args=compile_arguments,
            extra_link_args=link_arguments,
        )
        for source in sorted(CORE.glob("*.pyx"))
    ],
    compiler_directives={"language_level": 3, "embedsignature": True},
    show_all_warnings=False,
    quiet=True,
)

setup(ext_modules=extensions, cmdclass={"build_ext": BuildCore})
