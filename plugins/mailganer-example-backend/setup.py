"""Package of a sender backend. Copy it, rename it, make it yours."""

from setuptools import setup

setup(
    name="mailganer-example-backend",
    version="0.1.0",
    description="An example of a sender backend for Mailganer: emails by HTTP.",
    license="MIT",
    python_requires=">=3.11",
    packages=["mailganer_example_backend"],
    # Mailganer is installed from its checkout: its name on the public index belongs to another project.
    install_requires=["pydantic>=2.14"],
    extras_require={"test": ["pytest>=8.4"]},
    # The name on the left is what the operator writes into mailganer.backends; it is the class's `name`, too.
    entry_points={"mailganer.backends": ["example = mailganer_example_backend:ExampleBackend"]},
    classifiers=["Private :: Do Not Upload", "License :: OSI Approved :: MIT License"],
)
