"""The array types of the package. Images are NHWC, float32 on [0, 1] wherever something is computed."""

import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

Image = Float[Array | np.ndarray, "height width channel"]
Images = Float[Array | np.ndarray, "batch height width channel"]
RawImages = Num[Array | np.ndarray, "example height width channel"]
"""Images as they are stored, in their own type and value range."""
Kernel = Float[Array | np.ndarray, "rows columns channel feature"]
"""Of a convolution."""
PerImage = Float[Array | np.ndarray, "batch"]
Scalar = Float[Array | np.ndarray, ""] | float
Index = Int[Array, ""] | int
"""The position of an example in its dataset."""
PRNGKey = Key[Array, ""]
