# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of aicsched
# From signals to a plan with a proof, on the embedded sample: **synthetic** grids, fleet and jobs,
# so that everything below runs offline. With your own data, replace the three lines of the first cell by
# `ac.FileCarbon([...])`, `ac.read_fleet(...)` and `ac.read_jobs(...)`.

# %%
import aicsched as ac
from aicsched.domain.arrays import forecast_frame, frame_from_series

carbon = ac.SampleCarbon()
fleet = ac.sample_fleet()
jobs = ac.sample_jobs(fleet)
len(fleet.regions), len(fleet.nodes), len(fleet.backends), len(jobs)

# %% [markdown]
# ## Signals
# One series per grid zone, in grams of CO2-equivalent per kilowatt-hour, on UTC slots.

# %%
import pandas as pd

history = pd.concat(frame_from_series(carbon.read(zone)) for zone in carbon.zones())
history.groupby("grid_zone")["value_g_per_kwh"].describe()[["mean", "min", "50%", "max"]].round(0)

# %% [markdown]
# ## Plan
# The whole main job in one call: forecast, place, check.

# %%
run = ac.plan_work(carbon, fleet, jobs, at_s=carbon.now_s, horizon_h=96)
proof = run.placement.certificate
f"{run.placement.total_g / 1000:.1f} kg, at most {proof.gap:.3%} from optimal ({proof.method})"

# %%
rows = {"optimal": run.placement, **run.baselines}
pd.DataFrame(
    {
        name: {
            "forecast [kg]": plan.total_g / 1000,
            "actual [kg]": run.realised_g.get(name, float("nan")) / 1000,
        }
        for name, plan in rows.items()
    }
).T.round(1)

# %% [markdown]
# ## Forecast
# Seven days of past, the forecast with its 80 % band, and what then came.

# %%
from IPython.display import SVG, display

from aicsched.publish import report_data
from aicsched.report.figures import forecast_fan, pareto_front, placement_map

data = report_data(run)
display(SVG(forecast_fan(data)))

# %%
forecast_frame(next(iter(run.forecasts.values()))).head()

# %% [markdown]
# ## How good it is
# The same model tried from two weeks of past issue times, beside a plain seasonal profile. With your own
# data: `aicsched backtest --report page.html`.

# %%
from aicsched.report.backtest_figures import calibration, error_by_lead

series = {zone: carbon.read(zone) for zone in carbon.zones()}
times = {"start_s": carbon.now_s - 18 * 86_400, "end_s": carbon.now_s - 4 * 86_400, "keep_forecasts": True}
tried = ac.backtest(series, **times)
display(SVG(error_by_lead(tried, rival=ac.backtest(series, model="seasonal", **times))))
display(SVG(calibration(tried)))

# %%
tried.frame().query("metric == 'mape'").pivot_table(
    index="grid_zone", columns="lead_day", values="value"
).round(1)

# %% [markdown]
# ## What moved
# Work per region and hour, before and after, over carbon intensity.

# %%
display(SVG(placement_map(data)))

# %% [markdown]
# ## What waiting buys
# Each point is a feasible plan with its bound.

# %%
display(SVG(pareto_front(data)))

# %% [markdown]
# ## Why there?
# Every score is in grams, term by term.

# %%
request = ac.Request(vcpus=8, duration_s=4 * 3600)
cards = ac.score_regions(request, fleet, run.forecasts, start_s=run.at_s)
for card in (cards[0], cards[-1]):
    print(ac.explain(card))

# %% [markdown]
# Quantum, neuromorphic and edge backends go through the same score card, each for its default workload.

# %%
for card in ac.score_backends(fleet, run.forecasts, start_s=run.at_s):
    print(ac.explain(card))
