"""StepFi's section of the settings: `CHAINTRUE_STEPFI__…`."""

from decimal import Decimal
from typing import Self

from pydantic import Field, field_validator, model_validator
from stellar_sdk import StrKey

from shared.settings import EngineSettings, Section


class Stepfi(Section):
    """The contracts (C…), the scale between the chain's integers and the app's amounts, and words of the app that differ
    between its versions."""

    creditline: str | None = None
    liquidity_pool: str | None = None
    reputation: str | None = None
    vendor_registry: str | None = None
    parameters: str | None = None
    vouching: str | None = None
    amount_decimals: int = Field(default=7, ge=0, le=38)
    amount_tolerance: Decimal = Field(default=Decimal(0), ge=0)
    link_window_seconds: int = Field(default=3600, ge=0)
    clock_skew_seconds: int = Field(default=120, ge=0)
    insert_grace_seconds: int = Field(default=3600, ge=0)
    low_tier: str = Field(default="poor", min_length=1)
    cancelled_status: str = Field(default="cancelled", min_length=1)

    @field_validator("creditline", "liquidity_pool", "reputation", "vendor_registry", "parameters", "vouching")
    @classmethod
    def _contract_id(cls, value: str | None) -> str | None:
        if value is not None and not StrKey.is_valid_contract(value):
            raise ValueError("is no contract id: 56 characters that begin with C, as `stellar contract id` prints them")
        return value

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        named: dict[str, str] = {}
        for role in (*REQUIRED_CONTRACTS, "vouching"):
            contract = getattr(self, role)
            if contract is not None and named.setdefault(contract, role) != role:
                raise ValueError(f"{named[contract]} and {role} are the same contract")
        return self


REQUIRED_CONTRACTS = ("creditline", "liquidity_pool", "reputation", "vendor_registry", "parameters")


class Settings(EngineSettings):
    """All settings of a deployment for StepFi."""

    stepfi: Stepfi = Stepfi()
