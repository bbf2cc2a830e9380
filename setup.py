"""The packages of the project: four folders of this checkout become one import name, ``bench``."""

from setuptools import find_packages, setup

FOLDERS = {"bench": "bench", "bench.datasets": "datasets", "bench.methods": "methods", "bench.reports": "reports"}

setup(
    packages=[
        name
        for package, folder in FOLDERS.items()
        for name in (package, *(f"{package}.{each}" for each in find_packages(folder)))
    ],
    package_dir=FOLDERS,
)
