"""What a refund of ``guanaitong`` may carry beside the common fields, as the page's tables say.

The page's column of what is mandatory is lost in the seed. Mandatory here is what its words make
so, and within ``tradeInfo`` what names a part and its amounts, without which it says nothing.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

#: At most 99999999.99; ``BigDecimal (10, 2)`` has as many digits.
_PLAIN: Final = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")
#: Who the goods go to.
PERSONAL: Final = frozenset({"recipientName", "recipientPhone", "recipientAddress"})


def _is_plain(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise ValueError('must be a decimal text such as "115.35", at most "99999999.99"')
    return text


def _is_positive(text: str) -> str:
    if not Decimal(text):
        raise ValueError('must be "0.01" or more')
    return text


#: Yuan as they go over the wire, which are the producer's own characters.
YuanOrZero = Annotated[str, AfterValidator(_is_plain)]
Yuan = Annotated[str, AfterValidator(_is_plain), AfterValidator(_is_positive)]
Id = Annotated[str, Field(min_length=1, max_length=50)]
Short = Annotated[str, Field(max_length=50)]
Middle = Annotated[str, Field(max_length=100)]
Long = Annotated[str, Field(max_length=500)]
Whole = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Goods(_Fields):
    """GoodsDetail."""

    skuCode: Id
    skuName: Id
    skuCateCode: Middle | None = None
    skuCateDesc: Middle | None = None
    sku2ndCateCode: Middle | None = None
    sku2ndCateDesc: Middle | None = None
    sku3rdCateCode: Middle | None = None
    sku3rdCateDesc: Middle | None = None
    quantity: Whole
    price: YuanOrZero
    #: In percent.
    taxRate: YuanOrZero | None = None
    taxCode: Id | None = None
    taxUnit: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    #: 1 is a plain invoice, 2 a special one.
    invoiceType: Literal[1, 2] | None = None
    amount: YuanOrZero
    gatAmount: YuanOrZero | None = None
    costAmount: YuanOrZero | None = None
    freight: YuanOrZero | None = None


class ThirdOrder(_Fields):
    """ThirdOrder: a part of the order, by its merchant."""

    outerTradeNo: Annotated[str, Field(min_length=2, max_length=50)]
    thirdSubTradeNo: Id
    thirdSubRefundNo: Id
    thirdSubDeliveryFee: YuanOrZero | None = None
    thirdSubRefundAmount: Yuan
    thirdSubCostAmount: YuanOrZero
    goodsDetail: list[Goods] | None = None


class TradeInfo(_Fields):
    """TradeInfo: what the third party's order was, whole or in parts."""

    thirdTradeNo: Id
    thirdRefundNo: Id
    thirdRefundAmount: Yuan
    thirdCostAmount: YuanOrZero
    thirdDeliveryFee: YuanOrZero | None = None
    #: 1: it has parts, which must be there; 2: it has none, and its goods must be there.
    isThirdOrders: Literal[1, 2]
    thirdOrders: list[ThirdOrder] | None = None
    goodsDetail: list[Goods] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.isThirdOrders == 1 and not self.thirdOrders:
            raise ValueError("isThirdOrders is 1, so thirdOrders must be there")
        if self.isThirdOrders == 2 and not self.goodsDetail:
            raise ValueError("isThirdOrders is 2, so goodsDetail must be there")
        return self


class Extra(_Fields):
    """The private parameters that are no common field of a request."""

    costAmount: YuanOrZero | None = None
    deliveryFee: Yuan | None = None
    tradeInfo: TradeInfo | None = None
    provinceCode: Short | None = None
    provinceName: Short | None = None
    cityCode: Short | None = None
    cityName: Short | None = None
    locationCode: Short | None = None
    locationName: Short | None = None
    shopName: Middle | None = None
    shopPhone: Short | None = None
    shopAddress: Long | None = None
    poiCateCode: Middle | None = None
    poiCateDesc: Middle | None = None
    poi2ndCateCode: Middle | None = None
    poi2ndCateDesc: Middle | None = None
    poi3rdCateCode: Middle | None = None
    poi3rdCateDesc: Middle | None = None
    recipientName: Short | None = None
    recipientPhone: Short | None = None
    recipientAddress: Long | None = None


def foreign_parts(extra: Extra, appid: str) -> Iterator[str]:
    """A sentence for every part whose number is another application's."""
    parts = (extra.tradeInfo.thirdOrders if extra.tradeInfo else None) or []
    for number, part in enumerate(parts):
        if not part.outerTradeNo.startswith(appid):
            where = f"extra.tradeInfo.thirdOrders.{number}.outerTradeNo"
            yield f"{where}: must begin with the appid, {appid}"


def sums_that_differ(extra: Extra, amount: Decimal) -> Iterator[str]:
    """A sentence for every sum that does not come out; the provider may know why it does not."""
    trade = extra.tradeInfo
    if trade is None:
        return
    if Decimal(trade.thirdRefundAmount) != amount:
        yield f"extra.tradeInfo: thirdRefundAmount is {trade.thirdRefundAmount}, not {amount}"
    parts = trade.thirdOrders or []
    total = sum(Decimal(part.thirdSubRefundAmount) for part in parts)
    if parts and total != Decimal(trade.thirdRefundAmount):
        yield f"extra.tradeInfo: the parts are {total} together, not {trade.thirdRefundAmount}"
    for goods in [*(trade.goodsDetail or []), *(g for p in parts for g in p.goodsDetail or [])]:
        if Decimal(goods.amount) != Decimal(goods.price) * goods.quantity:
            yield f"extra.tradeInfo: goods {goods.skuCode}: amount is not price times quantity"


def in_snake_case(value: Any) -> Any:
    """The same with every name spelled as in the page's example: ``outer_trade_no``."""
    if isinstance(value, dict):
        return {_snake(name): in_snake_case(inner) for name, inner in value.items()}
    return [in_snake_case(inner) for inner in value] if isinstance(value, list) else value


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
