"""Personal data and credentials in texts and rows: detectors, known values, and what is done with what is found."""

from agent_persistence.redaction.redacting import (
    DETECTORS as DETECTORS,
    Action as Action,
    Cards as Cards,
    Credentials as Credentials,
    Detector as Detector,
    Emails as Emails,
    Finding as Finding,
    Ibans as Ibans,
    IpAddresses as IpAddresses,
    Phones as Phones,
    Redaction as Redaction,
    Redactor as Redactor,
    allow as allow,
    drop as drop,
    generalize as generalize,
    mask as mask,
    pseudonymize as pseudonymize,
    redact as redact,
    scan as scan,
)
