"""Building of the package; everything that can be declared is in setup.cfg."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PRESETS = Path("configs")


class BuildWithPresets(build_py):
    """The presets in configs/ are installed as mcdist/configs, so that they are found without a clone."""

    def run(self) -> None:
        """Build, then copy the presets beside the modules; an editable installation reads those of the clone."""
        super().run()
        if self.editable_mode:
            return
        for preset in sorted(PRESETS.rglob("*.yaml")):
            target = Path(self.build_lib, "mcdist", preset)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(preset), str(target))


setup(cmdclass={"build_py": BuildWithPresets})
