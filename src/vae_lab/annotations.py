"""Types of constructor arguments: what a value of a config is checked against, and its limits."""

from typing import Annotated

from pydantic import Field

Size = Annotated[int, Field(ge=1, le=1_000_000)]  # of a layer, a code, an image, or a number of parts
CodeLength = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: there is no code
Sizes = Annotated[list[Size], Field(min_length=1)]
OneOrTwoSizes = Annotated[list[Size], Field(min_length=1, max_length=2)]
ImageShape = tuple[Size, Size, Size]  # channels, height, width
Draws = Annotated[int, Field(ge=1, le=100_000)]  # samples of z for each image
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
ImageCount = Annotated[int, Field(ge=0, lt=2**32)]
Cells = Annotated[int, Field(ge=1, le=200)]  # rows, columns or images of a figure
Steps = Annotated[int, Field(ge=2, le=200)]  # images of a walk in a figure, both ends included
Bins = Annotated[int, Field(ge=2, le=1000)]  # pieces of a spline; with one it changes nothing
Runs = Annotated[int, Field(ge=0)]
Epochs = Annotated[int, Field(ge=0)]  # 0: never
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # a SHA-256
Fraction = Annotated[float, Field(ge=0, lt=1)]  # of what was before
