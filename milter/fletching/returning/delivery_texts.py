"""Table: words about the delivery itself: network, systems, time; and words that say little.

Sources: the replies in RFC 5321, and the wording of Postfix, Exim, Sendmail, qmail, Courier,
OpenSMTPD, Exchange, Domino and the filters in front of them, as it is quoted in returned mail.
`entries.py` says how an entry is written, `classify.py` which reason goes first.

`VAGUE` is looked up after the enhanced status codes that mean one thing: servers use these words
for many things.
"""

from __future__ import annotations

from fletching.returning.entries import MANY, Entry, entries
from fletching.returning.returned import Reason

TEXTS: tuple[Entry, ...] = (
    *entries(
        Reason.NETWORK,
        MANY,
        """
        have been failing for a long | lowest numbered mx record | reply read error |
        no valid route | all routes to | address family mismatch |
        could not retrieve source address | bad dns lookup | mx is broken |
        all hosts .. unreachable | connection to mail exchanger failed | communications failure |
        host lookup did not complete | unable to look up host | *cname_lookup_failed |
        best preference mx | points back to | remote host address is the local host |
        network error on destination | too many hops | lookup failed for all hosts |
        connection timed out | connection timeout | connection refused | connection reset |
        connection lost | connection dropped | connection closed | connection failed |
        connection died | connection broken | connection aborted | connection terminated |
        lost connection | lost input channel | bad connection | connect failed | couldnt connect |
        could not connect | cant connect | cannot connect | unable to connect |
        failed to connect | unable to establish | able to establish | failed connect |
        no route to host | no answer from host | network is unreachable | network unreachable |
        network error | host unreachable | host is unreachable | host not reachable |
        host is down | host .. not responding | hosts unreachable | not responding |
        no response from | did not respond | didnt respond | operation timed out |
        timed out while | session timed out | timeout while | timeout waiting | smtp timeout |
        read timeout | response timeout | time out while | conversation with | socket error |
        broken pipe | closed connection | closed the connection | server closed |
        dropped connection | did not accept our requests to connect | host not found try again |
        host name lookup failure | name server timeout | name service error | name server |
        dns error | dns soft error | dns lookup failed | dns lookup failure | dns failure |
        dns timeout | dns server | dns query | temporary lookup failure | temporary dns |
        servfail | mx lookup | mx servers | routing loop | mail loop | loop detected | looping |
        forwarding loop | hop count | maximum hop | maximum hops | too many received |
        loops back to | mail for .. loops | already has my delivered to line | tls handshake |
        ssl handshake | tls session | ssl error | tls negotiation | cannot start tls |
        server certificate | certificate verification | handshake | communication error
        """,
    ),
    *entries(
        Reason.SYSTEM,
        MANY,
        """
        local delivery failed | transport returned | failed to open mailbox |
        unknown mail transport error | cannot exec | never_users | error in redirect data |
        operation not permitted | insufficient permission | internal error |
        internal server error | internal system error | internal software | internal failure |
        system error | system config error | system failure | configuration error | config error |
        configuration problem | misconfigured | misconfiguration | server error | server failure |
        server configuration | local error | local configuration | error in processing |
        error processing | insufficient disk | insufficient system | insufficient resources |
        insufficient memory | insufficient storage | out of memory | out of disk | disk full |
        disk is full | file system full | filesystem full | no space left on device |
        no space on | i/o error | input/output error | system storage | system is full |
        queue full | queue file write error | file write error | write error | read error |
        cannot open | cant open | couldnt create | cannot create | cant create |
        unable to create | unable to open | unable to write | unable to contact | cannot append |
        could not load | mailer error | mailer .. failed | command died | command failed |
        command line usage error | command time limit | pipe to | procmail | maildrop |
        exit status | exited with | died with | unknown mailer error | filter error |
        database error | database failure | backend | ldap | sql | transport error |
        delivery agent | permission denied | this system is not | service currently unavailable |
        temporary local problem | temporary local | local problem | software error |
        table lookup | map lookup | lookup problem | resource temporarily unavailable |
        system resources | bug in | milter | mail server temporarily | server is busy |
        server busy | too busy | system load | load average | shutting down | being shut |
        maintenance
        """,
    ),
    *entries(
        Reason.EXPIRED,
        MANY,
        """
        has been in queue | delivery period | delivery time limit | time limit for delivery |
        tried for .. days | in the queue for | days of trying | hours of trying |
        attempts exhausted | giving up after | unable to deliver after | maximum lifetime |
        delivery attempts have failed | gave up after | maximum delivery attempts |
        delivery failed .. attempts | could not send message for | maximum time expired |
        not collected after | max delivery time | has not been delivered after |
        delivery time expired | delivery expired | message expired | envelope expired |
        message too old | message is too old | message timeout | queue too long |
        queue for too long | been in the queue | could not be delivered for |
        couldnt be delivered for | could not deliver for | not delivered within |
        not been delivered within | multiple retries | after multiple attempts | maximum retries |
        retry timeout exceeded | retry time not reached | retries exceeded | retry limit |
        retry count | unable to deliver this message after | undeliverable for | undelivered for |
        cannot send message for | cant send message for | delivery timed out | delivery timeout |
        lifetime | time to live | resources temporarily unavailable | will retry until |
        this is only a notification about a delay | has been delayed
        """,
    ),
)

VAGUE: tuple[Entry, ...] = (
    *entries(Reason.SENDER_REJECTED, "qmail", "but sender was rejected"),
    *entries(Reason.BLOCKED, "qmail", "but greeting failed | but my name was rejected"),
    *entries(Reason.BLOCKED, MANY, "message blocked"),
    *entries(Reason.EXPIRED, MANY, "deliver .. for .. days | delivered .. for .. days"),
    *entries(Reason.POLICY, MANY, "access denied | access is denied | not allowed to access"),
    *entries(
        Reason.USER_UNKNOWN,
        MANY,
        """
        mailbox unavailable | mailbox not available | mailbox is unavailable |
        recipient address rejected $ | recipient rejected | recipient denied |
        recipient not allowed | recipient not accepted | recipient is not accepted |
        recipient cannot be | address rejected $ | addressee rejected | does not exist |
        doesnt exist
        """,
    ),
    *entries(
        Reason.SPAM, MANY, "message rejected | mail rejected | message refused | email rejected"
    ),
    *entries(
        Reason.BLOCKED,
        MANY,
        "blocked | service not available | connection from | refused by | host rejected",
    ),
    *entries(
        Reason.POLICY,
        MANY,
        """
        denied | rejected | refused | not allowed | not permitted | prohibited | forbidden |
        restricted | not accepted
        """,
    ),
    *entries(
        Reason.SYSTEM,
        MANY,
        "service unavailable | transaction failed | unexpected error | failure writing",
    ),
)
