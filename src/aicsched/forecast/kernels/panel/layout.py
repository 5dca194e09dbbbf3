"""Where what lies in the state of one series, and the constants of the pool.

A series is one row of float32: scalars, the lags, coefficients and packed
covariance of its autoregression, a profile of the day and one of the week, and for
each anchor lead a block with the experts' losses and weights and the band's
offsets, and the forecasts that wait for their value. Kernels work on a float64
copy of the row, rounded to float32 once a step: one step at a time or many at once
give the same bytes, and so do the compiled loops and numpy.

The constants were chosen on half of the recorded utilisation series; the other half
was looked at once. Errors change by a few per cent where one of them is doubled or halved.
"""

from __future__ import annotations

from typing import Final

# ---------------------------------------------------------------- the experts, in their order
NAIVE: Final = 0
FAST_LEVEL: Final = 1
SLOW_LEVEL: Final = 2
SMOOTHED: Final = 3
DAY_PROFILE: Final = 4
WEEK_PROFILE: Final = 5
REGRESSION: Final = 6
EXPERTS: Final = 7

# ---------------------------------------------------------------- scalars of a row
LAST: Final = 0  # the latest value
FAST: Final = 1  # robust level of the last dozen of steps
FAST_SPREAD: Final = 2  # mean distance from it
SLOW: Final = 3  # robust level of about a hundred steps
SPREAD: Final = 4  # mean distance from it
SES: Final = 5  # exponentially smoothed
DAY_LEVEL: Final = 6  # mean of about a day, base of the day profile and of the autoregression
WEEK_LEVEL: Final = 7  # mean of about two weeks, base of the week profile
STEP_CHANGE: Final = 8  # mean one-step change
UP: Final = 9  # CUSUM of unexplained surplus
DOWN: Final = 10  # and of unexplained lack
SEEN: Final = 11  # how many values came
AGE: Final = 12  # steps since the latest value
MISSED: Final = 13  # how many values did not come
SINCE: Final = 14  # steps since the last change of level
DAY_SUM: Final = 15  # the present visit to a bucket of the day
DAY_COUNT: Final = 16
WEEK_SUM: Final = 17  # and of the week: taken over when it ends
WEEK_COUNT: Final = 18
LAGS: Final = 19
ORDER: Final = 8  # lags of the autoregression
COEFFICIENTS: Final = LAGS + ORDER
REGRESSORS: Final = ORDER + 4  # lags, and both profiles now and a step before
COVARIANCE: Final = COEFFICIENTS + REGRESSORS
PACKED: Final = REGRESSORS * (REGRESSORS + 1) // 2
DAY: Final = COVARIANCE + PACKED  # the day profile begins here; the week's follows
MANY: Final = 1e7  # counts stop here, where float32 still counts

# ---------------------------------------------------------------- columns of `sizes` and `anchors`
PER_DAY: Final = 0  # slots a day
DAY_BUCKETS: Final = 1
WEEK_BUCKETS: Final = 2
TRACKED: Final = 3  # quantile levels tracked
LEAD: Final = 0
STRIDE: Final = 1  # a forecast is put aside for this lead every so many steps
WAITING: Final = 2  # how many wait at a time
BLOCK: Final = 3  # where the anchor's block begins
QUEUE: Final = 4  # where its waiting forecasts begin, EXPERTS + 1 each
# Each further one in the queue reaches so many steps less far: at a single lead, a day for example,
# the latest value would be taken for a good forecast of all the leads below.
NEARER: Final = 5
# In a block:
LOSS_SCALE: Final = 0
ERROR_SCALE: Final = 1
SCORED: Final = 2
LOSSES: Final = 3
WEIGHTS: Final = LOSSES + EXPERTS
OFFSETS: Final = WEIGHTS + EXPERTS  # per tracked level, in error scales

# ---------------------------------------------------------------- constants of the pool
FAST_GAIN: Final = 0.4
FAST_CLIP: Final = 0.3  # of its spread a step
SLOW_CLIP: Final = 0.05
SES_GAIN: Final = 0.2
SPREAD_GAIN: Final = 0.02
FAST_SPREAD_GAIN: Final = 0.07
DAY_GAIN: Final = 0.15  # a visit
WEEK_GAIN: Final = 0.4
WEEK_MEMORY: Final = 14.0  # days of the week's level: one of a week swings within the week
PROFILE_CLIP: Final = 3.0  # spreads by which one visit may differ from a bucket
FORGETTING: Final = 0.998
WARM_UP: Final = 10  # values before the autoregression learns
REGRESSION_CLIP: Final = 5.0  # mean one-step changes that one error may teach
REACH: Final = 3.0  # spreads that the autoregression may lead away
RESOLUTION: Final = 1e-7  # of float32
CUSUM_SLACK: Final = 1.5  # spreads
CUSUM_CLIP: Final = 4.0
CUSUM_LIMIT: Final = 25.0
KEPT_LOSS: Final = 0.5  # of past losses after a change of level
LEARNING_RATE: Final = 0.5  # of the weights
LOSS_MEMORY: Final = 0.98  # a scored forecast
LOSS_CLIP: Final = 5.0
FIXED_SHARE: Final = 0.01
LOSS_GAIN: Final = 0.02
ERROR_GAIN: Final = 0.05
OFFSET_GAIN: Final = 0.05
HALF: Final = 0.5 - 1e-9  # of the weight: sums of weights may round down
COARSE: Final = 8192.0  # added and taken away again, it rounds a weight to steps of 2^-39
