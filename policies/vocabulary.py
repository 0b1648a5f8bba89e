"""The closed lists of words: priorities, lanes, roles, urgencies, modes, reasons and causes."""

from enum import IntEnum, StrEnum, auto


class Priority(IntEnum):
    """How soon a resource must be there; a smaller number is more urgent."""

    P0 = 0  # critical: must be cached already
    P1 = 1  # immediate: as soon as the task is received
    P2 = 2  # eager: while the task is first worked on
    P3 = 3  # background: nice to have
    P4 = 4  # deferred: only if asked for


class Lane(StrEnum):
    """What a plan does with an item."""

    IMMEDIATE = auto()  # P0 to P2, loaded at once
    BACKGROUND = auto()  # P3, or what does not fit the time budget
    DEFERRED = auto()  # P4 or below the confidence: loaded only when asked for
    SKIPPED = auto()  # over budget, cached, no source, ...: see the reason


class Pool(StrEnum):
    """The fetcher pools: one for each priority that is loaded ahead, and one for demand."""

    P0 = auto()
    P1 = auto()
    P2 = auto()
    P3 = auto()
    DEMAND = auto()


class Role(StrEnum):
    """What a predicted resource is to the task (decision D7)."""

    MASTER_FILE = auto()
    SESSION_STATE = auto()
    ACTIVE_FILE = auto()
    PRIMARY_SKILL = auto()
    MAIN_FILE = auto()
    ERROR_CONTEXT = auto()
    SECONDARY_SKILL = auto()
    RELATED_FILE = auto()
    TEST_FILE = auto()
    BEHAVIOR = auto()
    DOCUMENTATION = auto()
    HISTORICAL_CASE = auto()
    EXTENDED_CONTEXT = auto()
    DEPENDENCY_GRAPH = auto()
    LARGE_REFERENCE = auto()
    HISTORICAL_ANALYTICS = auto()


class Urgency(StrEnum):
    """How urgent the task is, as the Intent Parser states it."""

    CRITICAL = auto()
    HIGH = auto()
    MEDIUM = auto()
    LOW = auto()


class PolicyName(StrEnum):
    """The rules by which a planner chooses what to load ahead."""

    DEFAULT = auto()
    SPECIFICATION = auto()  # the specification's alone: no reload on change


class SpeculationMode(StrEnum):
    """Whether predictions are acted on."""

    ACTIVE = auto()
    OBSERVE = auto()
    OFF = auto()


class Mode(StrEnum):
    """Quality mode of the Token Economy Manager (decision D11)."""

    ECONOMY = auto()
    STANDARD = auto()
    PREMIUM = auto()
    CRITICAL = auto()


class Layer(StrEnum):
    """The cache layers, hottest first."""

    HOT = auto()
    WARM = auto()
    COLD = auto()


class EvictionPolicy(StrEnum):
    """How a full layer chooses what it gives up, among entries of the same class."""

    LRU = auto()  # least recently read
    LFU = auto()  # least often read
    FIFO = auto()  # longest in the layer
    TTL = auto()  # next to outlive the layer
    SIEVE = auto()  # longest in the layer, those spared that were read since they were last passed
    GDSF = auto()  # fewest reads for its size


class Reason(StrEnum):
    """Why an item was given its lane, or what became of it."""

    PLANNED = auto()
    OVER_TIME_BUDGET = auto()
    BELOW_MIN_CONFIDENCE = auto()
    NOT_WORTH_IT = auto()
    WASTEFUL = auto()  # next to nothing of its source's or role's loads ahead was read
    OBSERVED = auto()
    PRIORITY_DEFERRED = auto()
    TOKEN_BUDGET_EXCEEDED = auto()
    BACKGROUND_TOKENS_EXCEEDED = auto()
    NO_SOURCE = auto()
    NOT_READ_ONLY = auto()
    REMOTE_NOT_ALLOWED = auto()
    CACHED = auto()
    PENDING = auto()
    UNAVAILABLE = auto()
    EXCLUDED = auto()  # the source itself refuses to be prefetched for this name
    SPECULATION_OFF = auto()
    QUEUE_FULL = auto()
    START_EXPIRED = auto()
    OVERDUE = auto()  # a reader had it loaded afresh instead of waiting for it
    REPLACED = auto()  # a later submit of the same context does not repeat it
    CONTEXT_CHANGED = auto()
    SESSION_ENDED = auto()
    HOST_CANCELLED = auto()
    DEPTH_EXCEEDED = auto()
    MODE_DOES_NOT_FOLLOW = auto()


class Cause(StrEnum):
    """What started a load."""

    PREDICTION = auto()
    PREFILL = auto()
    RELOAD = auto()
    DEMAND = auto()


class RemovalCause(StrEnum):
    """Why an entry left the cache, or was given up before anyone had read it."""

    REPLACED = auto()
    EXPIRED = auto()
    EVICTED = auto()
    INVALIDATED = auto()
    CANCELLED = auto()  # a prefetch under way that nobody wanted any more: it was not stored
    SESSION_ENDED = auto()  # prefetched for a session that ended without reading it


class Relation(StrEnum):
    """How a follow-up prediction came out of loaded content (decisions D11, D23)."""

    CONTEXT = auto()
    DEPENDENCY = auto()
    REFERENCE = auto()
