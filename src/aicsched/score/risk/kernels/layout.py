"""What describes a situation, where sums lie, and the constants of the model.

The constants were chosen on the first halves of the recorded series; errors change
by a per cent or two where one of them is doubled or halved.
"""

from __future__ import annotations

from typing import Final

# ---------------------------------------------------------------- what describes a situation
LATEST: Final = 0  # the latest value
FAST: Final = 1  # levels that follow quickly, slowly and hardly
MIDDLE: Final = 2
SLOW: Final = 3
RECENT: Final = 4  # the highest value of the last horizon
DAILY: Final = 5  # what came at this time on earlier days
WEEKLY: Final = 6  # and a week ago
USUAL: Final = 7  # what the value itself was at this time on earlier days
FEATURES: Final = 8

# ---------------------------------------------------------------- columns of sums and of fits
COUNT: Final = 0  # how many situations
MEAN: Final = 1  # of what came
VARIANCE: Final = 2  # of what came (sums); coefficients begin after the means (fits)
CENTRE: Final = 3  # means of the features
PRODUCT: Final = CENTRE + FEATURES  # covariances of the features with what came
SQUARE: Final = PRODUCT + FEATURES  # covariances among the features
SUMS: Final = SQUARE + FEATURES * FEATURES
SLOPES: Final = CENTRE + FEATURES  # of a fit
FIT: Final = SLOPES + FEATURES

# ---------------------------------------------------------------- entries of `span`
ORIGIN: Final = 0  # the slot after which the future begins
FIRST: Final = 1  # the oldest slot that counts
HORIZON: Final = 2  # slots ahead
STRIDE: Final = 3  # every so many slots a situation

# ---------------------------------------------------------------- constants
GAIN_FAST: Final = 0.4
GAIN_MIDDLE: Final = 0.15
GAIN_SLOW: Final = 0.03
GAIN_DAILY: Final = 0.15
LEAST_COUNT: Final = 4  # fewer situations make no forecast
LEAST_VARIANCE: Final = 1e-10
LEAST_DISTANCE: Final = 1e-4  # situations nearer than this are alike
LEAST_SPREAD: Final = 1e-3  # no forecast of a share is better than this
TIE: Final = 1e-9  # steps of the grid: what is equal to its limit but for rounding hasn't passed it
