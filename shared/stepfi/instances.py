"""Which of StepFi's contracts an instance belongs to, and which others it works with: told by what it stores. Pure."""

from shared import scval
from shared.ledger_entry import ContractInstance
from shared.stepfi.events import Role

_OF_KEYS = {
    Role.CREDITLINE: {"LIQPOOL", "LOANCNT", "REPCONT"},
    Role.LIQUIDITY_POOL: {"CRDTLIN", "TOTSHRS", "TOTLIQ"},
    Role.REPUTATION: {"SCORES", "UPDATERS"},
}
_OTHERS = {
    "LIQPOOL": Role.LIQUIDITY_POOL,
    "REPCONT": Role.REPUTATION,
    "MERCHANT": Role.VENDOR_REGISTRY,
    "PARAMS": Role.PARAMETERS,
    "CRDTLIN": Role.CREDITLINE,
}


def role_of(instance: ContractInstance) -> Role | None:
    """The role that its storage shows; None where it shows none, as of a contract that was never used."""
    symbols, variants = _storage(instance)
    for role, keys in _OF_KEYS.items():
        if keys & symbols.keys():
            return role
    if type(symbols.get("PARAMS")) is scval.Map:
        return Role.PARAMETERS
    if "ReputationContract" in variants:
        return Role.VOUCHING
    return Role.VENDOR_REGISTRY if "Admin" in variants else None


def works_with(instance: ContractInstance) -> dict[Role, str]:
    """The contracts (C…) that it names, by their roles."""
    symbols, variants = _storage(instance)
    named = {role: str(symbols[key]) for key, role in _OTHERS.items() if type(symbols.get(key)) is scval.Address}
    reputation = variants.get("ReputationContract")
    return named if type(reputation) is not scval.Address else named | {Role.REPUTATION: str(reputation)}


def _storage(instance: ContractInstance) -> tuple[dict[str, object], dict[str, object]]:
    """Values by their keys: those that are symbols, and those that are unit variants (`Vec[Symbol]`)."""
    symbols: dict[str, object] = {}
    variants: dict[str, object] = {}
    for key, value in instance.storage or ():
        if type(key) is scval.Symbol:
            symbols[str(key)] = value
        elif type(key) is tuple and len(key) == 1 and type(key[0]) is scval.Symbol:
            variants[str(key[0])] = value
    return symbols, variants
