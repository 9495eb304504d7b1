"""What is measured, against what, and how fast it has to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

OURS: Final = "oauth_binding"
FAST_SECRETS: Final = "oauth_binding, fast secrets"
PROOFS_IN_TABLE: Final = "oauth_binding, proofs in the table"
UNLIMITED: Final = "oauth_binding, any number of devices"
TOKENS_ALONE: Final = "oauth_binding, last used by tokens alone"
EACH_SECOND: Final = "oauth_binding, last used each second"
PREPARED: Final = "oauth_binding, prepared by PostgreSQL"
WITH_FEED: Final = "oauth_binding, with the revocation feed"
FLOOR: Final = "a bare view"
ALLAUTH: Final = "allauth's provider"
TOOLKIT: Final = "django-oauth-toolkit"


@dataclass(frozen=True)
class Job:
    """Requests of one kind to one contender.

    Token requests have a grant, and are measured themselves; the others are made with their token.
    """

    contender: str
    #: "token", "introspect", or "api" for a DRF view that does nothing.
    endpoint: str
    #: A grant type.
    grant: str = "password"
    #: "opaque", or the algorithm of a JWT.
    token: str = "opaque"
    #: None for an application without binding; else "seen", "new", "no" or "slots", which is one per process.
    binding: str | None = None
    scope: str = "read"
    #: Whether each login is followed by revoking the tokens of the one before.
    revokes: bool = False
    #: Django's own password hasher, for passwords and client secrets.
    hashes_slowly: bool = False
    #: Whether each request has a DPoP proof, and its token the key of that.
    proves: bool = False
    #: Whether its application has a token policy of its own, with a limit that no job reaches.
    full_policy: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        if not self.grant:
            return f"{self.contender}, with a proof" if self.proves else self.contender
        if self.contender == TOOLKIT:
            parts = ["DOT"]
        elif self.contender == ALLAUTH:
            parts = [self.contender]
        else:
            parts = [self.token, "not bound" if self.binding is None else f"{self.binding} id"]
        if self.contender == FAST_SECRETS:
            parts.append("fast hash of secrets")
        if self.scope == "openid":
            parts.append("ID token")
        if self.revokes:
            parts.append("revoking the last")
        if self.proves:
            parts.append("with a proof" + (" in the table" if self.contender == PROOFS_IN_TABLE else ""))
        if self.full_policy:
            parts.append("full policy")
        if self.contender == FLOOR:
            parts.append(self.contender)
        if self.contender in {TOKENS_ALONE, EACH_SECOND, PREPARED, WITH_FEED}:
            parts.append(self.contender.partition(", ")[2])
        if self.contender == UNLIMITED:
            parts.append("any number of devices")
        return ", ".join(parts)


@dataclass(frozen=True)
class Comparison:
    """A job, and the one that it is measured against."""

    group: str
    job: Job
    against: Job
    #: The least that the ratio of rates may be; None where it is for information.
    bar: float | None = None
    #: The most SQL queries; None for any number.
    most_queries: int | None = None
    #: Whether it is measured over a socket, too.
    socket: bool = False
    #: The one database that it is about; None for all.
    database: str | None = None


#: What token requests with a proof have to reach of the rate without, and requests to an API.
_WITH_PROOF: Final = 0.75
_CALL_WITH_PROOF: Final = 0.5

#: What token requests have to reach of the rate without a policy and without a limit of devices.
_WITH_POLICY: Final = 0.95

#: What calls of an API have to reach that move when a device was last used, of the rate of those that do not.
_NOTING_USE: Final = 0.97

#: What a JWT that supersedes another has to reach where the revocation feed names that one.
_NAMING: Final = 0.9
#: What a refresh has to reach of an opaque token.
_REFRESH: Final = 1.5

#: What a JWT has to reach that supersedes another, by its algorithm.
_SUPERSEDING: Final = {"RS256": 0.75, "ES256": 0.9, "EdDSA": 0.9}


def _issuing(grant: str, name: str, socket: bool = False) -> list[Comparison]:
    toolkit = Job(TOOLKIT, "token", grant)
    ours = replace(toolkit, contender=OURS)
    jwt = replace(ours, token="RS256")

    def compare(job: Job, bar: float | None = None, most_queries: int | None = None) -> Comparison:
        return Comparison(name, job, toolkit, bar, most_queries, socket)

    is_refresh = grant == "refresh_token"
    comparisons = [compare(ours, _REFRESH if is_refresh else 0.97), compare(jwt)]
    if is_refresh:
        comparisons += [compare(replace(ours, binding=id_), _REFRESH, 8) for id_ in ("seen", "no")]
    else:
        comparisons += [compare(replace(ours, binding=id_), 1.3, 4) for id_ in ("seen", "no")]
        comparisons += [compare(replace(ours, binding="new"), 0.8), compare(replace(jwt, binding="new"))]
    comparisons += [
        compare(replace(ours, token=algorithm, binding="seen"), bar)
        for algorithm, bar in _SUPERSEDING.items()
    ]
    return [*comparisons, compare(replace(jwt, binding="no"), _SUPERSEDING["RS256"])]


def _superseding() -> list[Comparison]:
    toolkit = Job(TOOLKIT, "token", revokes=True)
    ours = Job(OURS, "token", binding="seen")
    name = "password, revoking the last tokens"
    return [Comparison(name, replace(ours, token=token), toolkit) for token in _SUPERSEDING]


def _checking() -> list[Comparison]:
    toolkit = Job(TOOLKIT, "introspect")
    ours = replace(toolkit, contender=OURS, binding="seen")
    bound = [ours, replace(ours, token="RS256")]
    introspection = [Comparison("introspection", job, toolkit, 1.0, socket=True) for job in bound]
    toolkit = replace(toolkit, endpoint="api")
    checks = [
        Comparison("DRF authentication", replace(job, endpoint="api"), toolkit, 1.0, 1, True) for job in bound
    ]
    others = ("django-rest-knox", "simplejwt, with its user HS256")
    checks += [
        Comparison("DRF authentication", replace(bound[0], endpoint="api"), Job(other, "api", ""))
        for other in others
    ]
    local = [
        Comparison(
            f"validation elsewhere, {algorithm}",
            Job(f"resource server {algorithm}", "api", ""),
            Job(f"simplejwt, stateless {algorithm}", "api", ""),
            1.0,
            0,
        )
        for algorithm in ("RS256", "ES256")
    ]
    return [*introspection, *checks, *local]


def _signing() -> list[Comparison]:
    toolkit = Job(TOOLKIT, "token", "authorization_code", scope="openid")
    ours = replace(toolkit, contender=OURS, scope="read", binding="seen")
    name = "authorization code, with one JWT"
    return [Comparison(name, replace(ours, token=token), toolkit) for token in ("RS256", "ES256", "EdDSA")]


def _proving() -> list[Comparison]:
    """Compare requests with a DPoP proof (RFC 9449), noted in Redis or in the table, to those without."""
    password = Job(OURS, "token", binding="seen")
    refresh = replace(password, grant="refresh_token")
    # A client's own token that is returned again takes next to nothing else: for information.
    jobs = [
        ("password", password, _WITH_PROOF),
        ("password", replace(password, token="ES256"), _WITH_PROOF),
        ("client credentials", replace(password, grant="client_credentials"), None),
        ("refresh", refresh, _WITH_PROOF),
    ]
    comparisons = [
        Comparison(f"{name}, with a proof", replace(job, proves=True), job, bar) for name, job, bar in jobs
    ]
    api = replace(password, endpoint="api", token="ES256")
    elsewhere = Job("resource server ES256", "api", "")
    comparisons += [
        Comparison("DRF authentication, with a proof", replace(api, proves=True), api, _CALL_WITH_PROOF),
        Comparison("validation elsewhere, with a proof", replace(elsewhere, proves=True), elsewhere),
    ]
    in_table = [replace(job, contender=PROOFS_IN_TABLE) for job in (password, api)]
    names = ("password, with a proof", "DRF authentication, with a proof")
    return comparisons + [
        Comparison(name, replace(job, proves=True), job) for name, job in zip(names, in_table, strict=True)
    ]


def _limiting() -> list[Comparison]:
    """Compare applications that limit the devices of a user to those that do not."""
    jobs = [
        replace(Job(UNLIMITED, "token"), token=token, binding=binding)
        for token in ("opaque", "ES256")
        for binding in ("seen", "new")
    ]
    return [
        Comparison("password, full policy", replace(job, contender=OURS, full_policy=True), job, _WITH_POLICY)
        for job in jobs
    ]


def _noting_use() -> list[Comparison]:
    """Compare calls of an API on a site where they move when a device was last used to one where none does.

    By default a call of five minutes does. What a write costs shows where there is one each second.
    """
    alone = Job(TOKENS_ALONE, "api", binding="seen")
    often = replace(alone, contender=EACH_SECOND)
    name = "DRF authentication, noting use"
    return [
        *(
            Comparison(name, replace(job, contender=OURS), job, _NOTING_USE, 1)
            for job in (alone, replace(alone, token="RS256"))
        ),
        Comparison(name, often, alone),
    ]


def _beside_allauth() -> list[Comparison]:
    """Compare this app to the provider of django-allauth, which has neither bindings nor password grants."""
    jobs = [
        (name, replace(Job(OURS, "token", grant), binding=binding))
        for name, grant in (("client credentials", "client_credentials"), ("refresh", "refresh_token"))
        for binding in (None, "seen")
    ]
    return [Comparison(f"allauth, {name}", job, Job(ALLAUTH, "token", job.grant)) for name, job in jobs]


def _above_the_floor() -> list[Comparison]:
    """Compare this app to a bare Django view with the same statements and crypto."""
    credentials = Job(OURS, "token", "client_credentials", binding="seen")
    password = replace(credentials, grant="password")
    jobs = [
        ("reuse", credentials),
        ("new id", replace(credentials, binding="new")),
        ("superseding", replace(credentials, token="ES256")),
        ("login, new id", replace(password, binding="new")),
        ("login, superseding", replace(password, token="ES256")),
        ("login, reuse", password),
        ("refresh", replace(password, grant="refresh_token")),
        ("introspection", replace(password, endpoint="introspect")),
        ("API check", replace(password, endpoint="api")),
    ]
    return [Comparison(f"floor, {name}", job, replace(job, contender=FLOOR)) for name, job in jobs]


def _preparing() -> list[Comparison]:
    """Compare a site whose statements PostgreSQL has prepared to one as Django has it by default."""
    credentials = Job(OURS, "token", "client_credentials", binding="seen")
    password = replace(credentials, grant="password")
    jobs = [
        *(("password", replace(password, binding=binding)) for binding in ("seen", "new")),
        ("password", replace(password, token="ES256")),
        *(("client credentials", replace(credentials, binding=binding)) for binding in ("seen", "new")),
        ("client credentials", replace(credentials, token="ES256")),
        ("refresh", replace(credentials, grant="refresh_token")),
        ("introspection", replace(password, endpoint="introspect")),
        ("DRF authentication", replace(password, endpoint="api")),
    ]
    return [
        Comparison(f"{name}, prepared", replace(job, contender=PREPARED), job, database="postgresql")
        for name, job in jobs
    ]


def _naming_revoked() -> list[Comparison]:
    """Compare a site with the revocation feed to one without."""
    jobs = [
        Job(OURS, "token", grant, token="ES256", binding="seen")
        for grant in ("password", "client_credentials", "refresh_token")
    ]
    return [
        Comparison(
            f"{job.grant}, with the feed",
            replace(job, contender=WITH_FEED),
            job,
            None if job.grant == "refresh_token" else _NAMING,
        )
        for job in jobs
    ]


def _slow_hashing() -> list[Comparison]:
    toolkit = Job(TOOLKIT, "token", "client_credentials", hashes_slowly=True)
    name = "{}, Django's password hasher"
    fast = replace(toolkit, contender=FAST_SECRETS, binding="seen")
    password = replace(toolkit, grant="password")
    return [
        Comparison(name.format("client credentials"), replace(fast, contender=OURS), toolkit),
        Comparison(name.format("client credentials"), fast, toolkit),
        Comparison(
            name.format("introspection"),
            replace(fast, endpoint="introspect"),
            replace(toolkit, endpoint="introspect"),
        ),
        Comparison(name.format("password"), replace(fast, contender=OURS, grant="password"), password),
        Comparison(name.format("password"), replace(fast, grant="password"), password),
    ]


COMPARISONS: Final = [
    *_issuing("password", "password", socket=True),
    *_superseding(),
    *_issuing("client_credentials", "client credentials"),
    *_issuing("refresh_token", "refresh"),
    *_checking(),
    *_signing(),
    *_proving(),
    *_limiting(),
    *_noting_use(),
    *_preparing(),
    *_naming_revoked(),
    *_above_the_floor(),
    *_beside_allauth(),
    *_slow_hashing(),
]

#: The most that the 99th percentile may be, as a multiple of the other's.
P99_BAR: Final = 2.0

#: The most memory that a worker may take beyond one of django-oauth-toolkit, in MB.
MEMORY_BAR: Final = 15.0

#: The most memory that a worker may take beyond its own after a tenth of the requests, in MB.
MEMORY_LATER_BAR: Final = 2.0

#: The most time that checking a proof may take, as a multiple of PyJWT's for the same one.
PROOF_CHECK_BAR: Final = 1.5

#: One slot against a slot for each process: the least that the ratio of rates may be.
HOT_SLOT_BAR: Final = 0.5
