"""APIs of prices, made up in the shapes that are documented, and sources that ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aicsched.domain.price import PriceItem, PriceUnit, Purchase
from aicsched.signals.price.azure import AzurePrices
from aicsched.signals.price.energy_charts import EnergyChartsPrices
from aicsched.signals.transport import Transport
from aicsched.slots import SlotGrid, parse_time
from tests import upstream_kit as kit

if TYPE_CHECKING:
    from aicsched.signals.clock import Clock

DE = PriceItem(place="DE", unit=PriceUnit.KWH)
SIZE = "Standard_D4as_v5"
NOW_S = parse_time("2026-05-01T12:00Z")
DAY = SlotGrid(NOW_S - 43_200, 3600, 24)


def azure_item(how: Purchase = Purchase.ON_DEMAND) -> PriceItem:
    return PriceItem(place="westeurope", unit=PriceUnit.INSTANCE_H, instance_type=SIZE, purchase=how)


class Charts:
    """An API with the documented path and fields, of quarters."""

    def __init__(self) -> None:
        self.unit = "EUR / MWh"
        self.step_s = 900
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: kit.Request) -> kit.Reply:
        assert request.path == "/price"
        self.asked.append(request.params)
        times = list(range(int(request.params["start"]), int(request.params["end"]) + 1, self.step_s))
        quarters = [(time_s - NOW_S) // 900 for time_s in times]
        prices = [None if quarter == 5 else quarter - 10.0 for quarter in quarters]
        return kit.json_reply(
            {
                "license_info": "CC BY 4.0",
                "unix_seconds": times,
                "price": prices,
                "unit": self.unit,
                "deprecated": False,
            }
        )


def meter(price: float, **more: Any) -> dict[str, Any]:
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "westeurope",
        "location": "EU West",
        "effectiveStartDate": "2026-01-01T00:00:00Z",
        "productName": "Virtual Machines Dasv5 Series",
        "skuName": "D4as v5",
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "armSkuName": SIZE,
        **more,
    }


class Azure:
    """An API with the documented fields, in two pages."""

    def __init__(self) -> None:
        self.meters = [
            meter(0.208),
            meter(0.392, productName="Virtual Machines Dasv5 Series Windows"),
            meter(0.041, skuName="D4as v5 Spot"),
            meter(0.05, skuName="D4as v5 Low Priority"),
            meter(1100.0, type="Reservation", unitOfMeasure="1 Hour"),
            meter(0.0, skuName="D4as v5 Spot", effectiveStartDate="2025-01-01T00:00:00Z"),
        ]
        self.asked: list[dict[str, str]] = []
        self.pages = 2
        self.next_host = "https://elsewhere.example"

    def __call__(self, request: kit.Request) -> kit.Reply:
        self.asked.append(request.params)
        page = int(request.params.get("$skip", "0"))
        items = self.meters[page * 3 : page * 3 + 3] if self.pages == 2 else []
        more = f"{self.next_host}/api/retail/prices?$skip={page + 1}" if page + 1 < self.pages else None
        return kit.json_reply(
            {"BillingCurrency": "USD", "Items": items, "NextPageLink": more, "Count": len(items)}
        )


def charts(server: kit.Upstream, clock: Clock, limits: Any = kit.SMALL) -> EnergyChartsPrices:
    return EnergyChartsPrices(
        url=server.url, transport=Transport("energy-charts", limits=limits, clock=clock)
    )


def azure(server: kit.Upstream, clock: Clock, limits: Any = kit.SMALL) -> AzurePrices:
    transport = Transport("azure-retail-prices", limits=limits, clock=clock)
    return AzurePrices(["westeurope"], [SIZE], url=server.url, transport=transport, clock=clock)
