"""Table: words of a server that does not want the mail: its sender, host, content or rate.

Sources: the replies in RFC 5321, and the wording of Postfix, Exim, Sendmail, qmail, Courier,
OpenSMTPD, Exchange, Domino and the filters in front of them, as it is quoted in returned mail.
`entries.py` says how an entry is written, `classify.py` which reason goes first.
"""

from __future__ import annotations

from fletching.returning.entries import MANY, Entry, entries
from fletching.returning.returned import Reason

TEXTS: tuple[Entry, ...] = (
    *entries(
        Reason.VIRUS,
        MANY,
        """
        rejected virus | infected file | virus detected | virus found | virus infected |
        infected with | infected by | infected message | contains a virus | contains virus |
        contained a virus | contains malware | malware | a virus | viruses | trojan |
        virus threat | probably a virus | virus signature | clamav found | *.trojan |
        message contains a url known to
        """,
    ),
    *entries(
        Reason.CONTENT,
        MANY,
        """
        forbidden file | attachments are not | attachments not | password protected |
        encrypted archive | encrypted attachment | data format error | message content denied by |
        conversion failed | headers too large | header size exceeds | message header size |
        duplicate header | media error | unacceptable attachment | attachment not allowed |
        attachment type | attachments are not allowed | blocked attachment |
        executable attachment | file type not | forbidden attachment | illegal attachment |
        contains invalid header | invalid header | malformed header | improper use of 8 bit |
        message contains nul | too many mime parts | mime error | content type not | lone cr |
        attachments with | attachment .. forbidden | attachment .. blocked |
        attachment .. prohibited | attachment .. dangerous | prohibited attachment |
        dangerous attachment | dangerous file | file extension | file name extension |
        too many attachments | message is malformed | malformed message | malformed mime
        """,
    ),
    *entries(
        Reason.AUTH_FAILURE,
        MANY,
        """
        spf mail from | spf .. not allowed | spf .. not authorized | spf .. not permitted |
        by sender id | sender id pra | sender id .. not permitted | rejected spf | dmarc | dkim |
        spf record | spf check | spf validation | spf fail | spf hard | spf soft | spf permerror |
        spf error | spf policy | spf authentication | failed spf | fails spf | bad spf | by spf |
        *spf.pobox.com | *openspf | spf @ | sender policy framework | unauthenticated email |
        unauthenticated mail | authentication checks failed | authentication failures |
        failed authentication checks | does not pass authentication |
        message does not meet authentication | spf unauthori | spf sender | spf invalid |
        pass spf | spf did not pass | arc validation
        """,
    ),
    *entries(
        Reason.SENDER_REJECTED,
        MANY,
        """
        sender blacklisted | your email address is on | your email address has been |
        mail from this sender | mail from this address | messages from this sender |
        sender domain has been | from domain does | invalid mail from | sender is on |
        invalid return path | return path is invalid | invalid reverse path |
        sender address rejected | sender rejected | sender denied | sender refused |
        sender is not | sender not allowed | sender not permitted | sender blocked |
        sender is blocked | sender verify failed | sender verification | sender unknown |
        sender domain must | sender domain not | sender domain is | sender domain does |
        invalid sender domain | sender address is | sender address was | sender address not |
        sender address does | sender address has | sender address must | sender address domain |
        sender address verif | sender address @ blocked | sender address could |
        sender address unknown | sender address invalid | senders domain | senders address |
        senders mail address | domain of sender | domain of the sender | envelope sender |
        unknown sender | invalid sender | bad sender | blocked sender | blacklisted sender |
        unable to verify sender | cannot verify sender | could not verify sender | verify sender |
        purported responsible address | from domain is invalid | provide a valid from |
        from address | mail from .. rejected | mail from .. denied | mail from .. refused |
        mail from .. not allowed | mail from command | mail from must |
        address that has been blacklisted | are not member | not a member | not member of |
        non member | not subscribed | only members | not allowed to post | not permitted to post |
        not authorized to post | not allowed to send | not permitted to send mail |
        no permission to send | bogus mail from | return path .. does not exist |
        must have a valid return | backscatter | fully qualified sender
        """,
    ),
    *entries(
        Reason.RELAY_DENIED,
        MANY,
        """
        authorised to relay | unauthorised relay | not an open relay | not hosted here |
        not hosted on this | not configured to accept mail for | does not handle mail for |
        relay access denied | relay denied | relay not permitted | relay not allowed |
        relay is not | relay operation | relay prohibited | relay this message | relaying denied |
        relaying not | relaying is | relaying prohibited | relaying mail to |
        relaying to .. prohibited | no relaying | no relay | not relay | unable to relay |
        cannot relay | cant relay | dont relay | refused relay | unauthorized relay |
        invalid relay | open relay not | permitted to relay | allowed to relay |
        configured to relay | authorized to relay | allowed rcpthosts | list of allowed |
        not a local domain | not one of our domains | isnt in my list |
        isnt allowed to be relayed | domain isnt in | not in my list |
        domain .. is not in the list of | not authorized to relay | insecure mail relay
        """,
    ),
    *entries(
        Reason.RATE_LIMITED,
        MANY,
        """
        too much mail for | too many requests | hourly quota | connection threshold |
        message volume | volume of mail | mail volume | too many connections |
        too many concurrent | too many simultaneous | too many sessions | too many messages |
        too many mails | too many emails | too many recipients | too many errors |
        too many invalid | too many unknown | too many bad | too many attempts | too fast |
        too frequent | slow down | rate limit | rate limited | rate exceeded | rate is too |
        rate control | sending rate | message rate | connection rate | connection limit |
        connections limit | connection count | concurrency limit | max connections |
        maximum connections | maximum number of connections | maximum number of recipients |
        maximum number of messages | maximum recipients | exceeded the maximum number |
        exceeded the rate | exceeded .. per hour | exceeded .. per day | exceeds .. per hour |
        limit exceeded .. per | limit of messages | limit for today | daily limit | daily quota |
        daily message | hourly limit | mails per | messages per | recipients per |
        connections per | message per connection | number of concurrent | too much mail from |
        sending limit | try again slower | throttl | frequency limit | overloaded |
        resources restricted
        """,
    ),
    *entries(
        Reason.BLOCKED,
        MANY,
        """
        source of spam |
        no reverse name | not allowed to connect | not permitted to connect |
        intrusion prevention | helo should | helo must | helo does not | not accepting mail from |
        not accept mail from your | mail from your .. not accepted | you have been blocked |
        refuses mail from | refused mail from your | blocked using | blocked by .. rbl |
        blocked by .. dnsbl | blocked by .. spamhaus | blocked by ldap | blocked for abuse |
        blocked because of | black list | blacklist | blocklist | block list | blocked list |
        blocked see | listed at | listed in | listed on | listed by | ip is listed |
        address is listed | host is listed | server is listed | was found on | dnsbl | *dnsbl |
        rbl | *spamhaus | *spamcop | *sorbs | *abuseat.org | *barracudacentral | *surriel |
        *uceprotect | *spamrats | *invaluement | *senderscore | *cloudmark.com | *senderbase |
        *talosintelligence | *trustedsource | poor reputation | bad reputation | low reputation |
        reputation | client host rejected | client host .. rejected | client host blocked |
        client rejected | smtp server of your isp | your isps | banned | reverse dns |
        reverse hostname | reverse lookup | rdns | ptr record | ptr lookup | no ptr |
        without ptr | dns ptr | cannot find your hostname | cannot find your host |
        cant find your hostname | cannot resolve your | cannot resolve address |
        could not resolve ip | does not resolve to | doesnt resolve | forward confirmed |
        unverifyable sending | unverifiable sending | unresolvable | helo command rejected |
        helo rejected | ehlo command rejected | invalid helo | bad helo | helo is | helo name |
        helo host | helo argument | helo/ehlo | not accepting connections |
        connections not accepted | connections from your | connection rejected |
        connection denied | connection not allowed | connection refused by policy |
        refused to talk to me | ip address .. blocked | ip address .. rejected |
        ip address .. refused | ip address blocked | ip .. blocked | ip is blocked | ip has been |
        ip not allowed | ip range | ip address rejected | your host | your ip | your mail server |
        your server | your network | your email server | from ip address .. denied |
        access from ip | server access .. forbidden | server access forbidden | sending ip |
        originating ip | mail server .. open relay | an open relay | no access from mail server |
        dynamic ip | dynamic address | dynamic pool | dial up | dialup | residential |
        domain .. blocked | domain blocked | cyberoam anti spam | fix reverse | sends spam |
        sent spam | too much spam | spam source | spammer | unsolicited .. from your
        """,
    ),
    *entries(
        Reason.SPAM,
        MANY,
        """
        rejected as bulk | advertising | advertisement | mail content denied |
        content may cause harm | content is not accepted | contains objectionable | spam |
        anti spam | this is spam | antispam | unsolicited | ube | uce | junk mail | junk |
        bulk email | mass mail | message content rejected | content rejected | contents rejected |
        content filter | rejected due to content | rejected for content |
        rejected because of its content | rejected by content | message looks like | *uribl |
        *surbl | phish | scam | bayes | fingerprint
        """,
    ),
    *entries(
        Reason.TOO_BIG,
        MANY,
        """
        message too large | message too big | message is too large | message is too big |
        message size exceed | message size limit | message size too large |
        message size .. exceeds | message length exceeds | message file too big |
        message was too | mail is too large | mail too large | mail size limit |
        mail size exceed | mail too big | email too large | email is too | exceeds size limit |
        exceeds .. size limit | exceeds the size | exceeds the maximum | exceeds maximum |
        exceeds fixed maximum | exceeds .. maximum message size | exceeded .. message size |
        exceeded maximum .. size | maximum message size | max message size | max size |
        maximum size | size exceeds | size of this message exceeds | larger than | too large for |
        body too large | data size exceeds | nachricht zu gro\u00df | message trop
        """,
    ),
    *entries(
        Reason.PROTOCOL,
        MANY,
        """
        synchronization error | multiple addresses in from | rfc compliant | rfc 5322 | rfc 5321 |
        rfc 2822 | rfc 2821 | rfc5322 | rfc5321 | rfc2822 | bare lf | bare newline | bare cr |
        line too long | line length | lines too long | line is too long | missing header |
        missing .. header | missing from | missing date | message id header |
        must have .. header | multiple .. headers | more than one .. header | syntax error |
        bad syntax | invalid syntax | command not | command unrecognized | command unknown |
        unrecognized command | unknown command | unimplemented | not implemented |
        improper sequence | bad sequence | out of sequence | not compliant | non compliant |
        protocol violation | protocol synchronization | smtputf8 | 8bitmime | internationalized |
        bare linefeed | header .. is missing | improper command pipelining | unexpected command
        """,
    ),
    *entries(
        Reason.RECIPIENT_FILTERED,
        MANY,
        """
        recipient accepts mail only | recipient accepts only | recipient has set |
        message not wanted | recipient does not want | recipient doesnt want | user does not want |
        user has set a filter | blocked by this user | refused by this user |
        rejected by recipient | rejected by the recipient | rejected by user |
        rejected by the user | blocked by recipient | blocked by the recipient | blocked by user |
        recipient preferences | recipient has blocked | recipient refuses | recipient refused |
        recipient does not accept | recipient has not | recipient is not accepting |
        recipient is only accepting | recipient only accepts | user refused | user refuses |
        user has blocked | user reject | users preferences | users filter |
        due to user preferences | message filtered | mail filtered | domain filter |
        address filter | filtered by | refused by recipient | refused by user |
        does not want to receive | does not wish to receive | doesnt want to receive |
        not accepting messages from | challenge response | access by user | recipients whitelist |
        recipients white list | recipients allow list | recipients safe list |
        not on the recipients | recipient has chosen | restricted by recipient |
        restricted by the recipient | sender not in whitelist | not whitelisted by
        """,
    ),
    *entries(
        Reason.POLICY,
        MANY,
        """
        policy reason | policy violation | policy restriction | denied by policy |
        rejected by policy | violates policy | violation of policy | violates our policy |
        local policy | security policy | site policy | company policy | mail policy |
        administrative policy | due to policy | policy rejection | policy reject |
        administrative prohibition | administratively prohibited | administratively denied |
        administratively blocked | not accepted for policy | potential security |
        delivery not authorized | message not allowed | must issue a starttls | starttls first |
        starttls is required | tls required | tls is required | encryption required |
        requires encryption | authentication required | authentication is required |
        requires authentication | smtp auth | greylist | graylist | grey list | gray list |
        greeylist | postgrey | not authorised | unauthorised | please authenticate |
        not authorized | unauthorized
        """,
    ),
)
