"""aiorest-ws with an annotated handler: `python ours_typed_server.py PORT uvloop|asyncio`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from msgspec import Meta, Struct

from aiorest_ws import Application, SimpleRouter, endpoint


class Order(Struct):
    number: int
    customer: int
    reference: str
    city: str
    weight: float
    express: bool
    note: str
    priority: int
    articles: list[str]
    voucher: str | None


@endpoint("/users/{user_id}/orders/{order_id}", "POST")
def order(
    request: Any,
    user_id: int,
    order_id: int,
    data: Order,
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
    offset: int = 0,
    order: str = "",
) -> Any:
    return user_id + order_id + limit + data.number


router = SimpleRouter()
router.register_endpoint(order)

if __name__ == "__main__":
    Application(router=router).run(port=int(sys.argv[1]), loop=sys.argv[2])  # type: ignore[arg-type]
