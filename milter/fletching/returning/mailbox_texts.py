"""Table: words about the mailbox and its domain: unknown, full, disabled, moved.

Sources: the replies in RFC 5321, and the wording of Postfix, Exim, Sendmail, qmail, Courier,
OpenSMTPD, Exchange, Domino and the filters in front of them, as it is quoted in returned mail.
`entries.py` says how an entry is written, `classify.py` which reason goes first.
"""

from __future__ import annotations

from fletching.returning.entries import MANY, Entry, entries
from fletching.returning.returned import Reason

TEXTS: tuple[Entry, ...] = (
    *entries(
        Reason.MAILBOX_FULL,
        MANY,
        """
        space not enough | exceeding .. quota |
        *\u30e1\u30fc\u30eb\u30dc\u30c3\u30af\u30b9\u304c\u4e00\u676f | has no free space |
        no free space in | used up the storage | zuviele mails | zu viele mails |
        disk space limit | disk space quota | no space in the mailbox | not enough space for |
        mailbox has reached | mailbox is at capacity | account is temporarily over |
        exceeded his/her quota | exceeded the maximum storage | user over quota | mailbox full |
        mailbox is full | mail box full | mail box is full | mailbox for .. is full |
        mailbox of .. is full | mailbox .. is full | mailfolder is full | mail folder is full |
        inbox is full | inbox full | account is full | account full | user is full |
        folder is full | full mailbox | maildir full | over quota | overquota | over its quota |
        over disk quota | over the quota | over storage | over the maximum allowed mailbox |
        over the allowed quota | exceeded quota | exceeded his quota | exceeded the quota |
        exceeded its quota | exceeded their quota | exceeded email quota | exceeded disk quota |
        exceeded storage allocation | exceeded the storage | exceeded .. storage limit |
        exceeds quota | exceeds .. quota | exceed quota | exceeding quota | quota exceed |
        quota has been exceeded | quota full | quota is full | quota violation |
        reached disk quota | disk quota | storage quota | mailbox quota | mailbox exceed |
        mailbox has exceeded | mailbox size limit | mailbox limit | mailbox over |
        mailbox too large | mailbox is over | mailbox would exceed | not enough storage space |
        not enough space in .. mailbox | insufficient quota | insufficient space in |
        no space left in | no space in mailbox | no storage space | out of quota | storage limit |
        space has been used up | too many messages in .. mailbox |
        messages in recipients mailbox exceeded | user has too many messages |
        too much mail data | postfach voll | postfach ist voll | postfach des .. voll |
        boite du destinataire pleine | boite pleine | bo\u00eete pleine | casella piena |
        casella .. piena | buzon lleno | caixa postal cheia | caixa .. cheia |
        552 .. storage allocation
        """,
    ),
    *entries(
        Reason.MAILBOX_DISABLED,
        MANY,
        """
        account is temporarily limited | users account is disabled | is unavailable for delivery |
        mailbox .. is no longer active | account is disabled | account disabled |
        account has been disabled | account you tried to reach is disabled |
        account that you tried to reach is disabled |
        account that you tried to reach is inactive | account is inactive | account inactive |
        account is not active | account not active | account is no longer active |
        account .. is disabled | account .. has been disabled | account has been suspended |
        account has been temporarily suspended | account is suspended | account suspended |
        account .. suspended | account has expired | account expired | account is expired |
        account has been locked | account is locked | account locked | account has been blocked |
        account is blocked | account blocked | account is temporarily blocked |
        account is temporarily unavailable | account temporarily disabled |
        account has been deactivated | account deactivated | account is deactivated |
        account has been closed | account closed | account is closed |
        account has been cancelled | compte du destinataire est bloque | user account disabled |
        user is disabled | user disabled | user has been disabled | user is inactive |
        user inactive | user suspended | user is suspended | user .. suspended |
        user is not active | disabled recipient | disabled user | disabled account |
        recipient suspended | recipient is suspended | recipient disabled |
        recipient is disabled | recipient is inactive | inactive user | inactive mailbox |
        inactive account | inactive recipient | mailbox disabled | mailbox is disabled |
        mailbox .. is disabled | mailbox has been disabled | mailbox inactive |
        mailbox is inactive | mailbox .. is inactive | mailbox not active | mailbox suspended |
        mailbox is suspended | mailbox currently suspended | mailbox is blocked |
        mailbox blocked | mailbox is locked | mailbox locked | mailbox is frozen |
        mailbox has been blocked | mailbox deactivated | mailbox is deactivated |
        mailbox expired | mail receiving disabled | email account is disabled |
        no longer accepting mail for this user | not accepting mail for this user |
        account terminated | account is terminated | account has been terminated |
        mailbox terminated | mailbox is terminated | mailbox is not activated |
        mailbox not activated | account is not activated | account not activated |
        mailbox is dormant | account is dormant | mailbox is closed | mailbox closed |
        mailbox has been suspended | mailbox has been deactivated | mailbox is not active |
        user is deactivated | user deactivated | user is locked | user account is locked |
        user account is closed | account has been archived | user is not allowed to receive |
        not allowed to receive mail | account on hold | account is on hold |
        account has been stopped | account is temporarily locked |
        account is temporarily suspended | account is temporarily disabled |
        mail delivery disabled | account has been frozen | account is frozen | account frozen |
        user has been suspended | user has been locked | due to extended inactivity |
        extended inactivity | this address no longer accepts mail | temporarily disabled |
        domain .. is suspended | domain has been suspended | domain suspended |
        domain has been disabled | domain is disabled | has been suspended |
        is currently suspended | compte inactif | compte desactive | konto gesperrt |
        cuenta desactivada | boite inactive
        """,
    ),
    *entries(
        Reason.MOVED,
        MANY,
        """
        no longer here .. new address | has moved | have moved | user moved | mailbox moved |
        address has changed | address has been changed | has been replaced by |
        no longer on server | recipient moved | new address is | 551 not our user |
        user not local please try
        """,
    ),
    *entries(
        Reason.NO_MAIL_SERVICE,
        MANY,
        """
        domain does not accept messages | null mx | nullmx | does not accept mail |
        does not accept email | does not accept any mail | doesnt accept mail |
        doesnt accept email | doesnt receive email | doesnt receive mail | does not receive mail |
        does not receive email | do not accept mail | indicated no smtp service |
        no smtp service | no mx record found | no mx found | no mx records | no mx host |
        no mx or | no valid mx | could not find a mail exchanger | couldnt find a mail exchanger |
        couldnt find any mail exchanger | find a mail exchanger | no mail exchanger |
        no mail server | no mail service | not accept incoming mail | mx records point to
        """,
    ),
    *entries(
        Reason.DOMAIN_UNKNOWN,
        MANY,
        """
        all host address lookups failed permanently | hostname required | no data known |
        no dns entry for | remote domain doesnt exist | unable to lookup dns |
        unable to resolve route | domain part .. unknown | host name not found |
        no route found to domain | host unknown | hosts unknown | unknown host | host not found |
        host or domain no such host | no such domain | domain does not exist |
        domain doesnt exist | domain name does not exist | domain not exist |
        domain name not found | domain not found | domain unknown | domain is unknown |
        domain .. does not exist | domain invalid | domain may not exist | domain not known |
        domain must exist | unknown domain | unknown mail domain | invalid domain | invalid host |
        nonexistent domain | non existent domain | non existing domain |
        name or service not known | nodename nor servname | couldnt find any host |
        couldnt find a host | could not find host | could not find any host | hostname not found |
        hostname lookup failed | unrouteable mail domain | unrouteable domain |
        unroutable mail domain | unroutable domain | illegal host/domain name |
        bad destination system | bad destination host | bad destination mailbox domain |
        bad domain | mail domain .. is unknown | nxdomain | name service error .. not found |
        doesnt exist in dns | dns hard error | unknown dns
        """,
    ),
    *entries(
        Reason.USER_UNKNOWN,
        MANY,
        """
        non existing recipient | recipient address is wrong | name not recognised |
        recipient not recognised | address you sent to is | address is not recogni |
        account has been removed | mailbox has been removed | user has been removed |
        no longer has an account | recipient isnt on | does not have an account here |
        mailbox is unknown | unable to find mailbox | unable to find user | user no found |
        cannot find user | cant find user | cannot find mailbox | no mailbox @ |
        user by that name | mailbox by that name | not in our directory | @ unknown $ |
        user @ unknown | recipient @ unknown | mailbox @ unknown | account @ unknown |
        user @ not found | address you entered could | address @ not found | ambiguous recipient |
        nexiste pas | did not exactly match | no matches to nameserver |
        account not in the database | invalid recipient address | user name .. does not exist |
        users does not exist | no such user here | user unknown | unknown user | user is unknown |
        user .. unknown in | user not found | user not known | user not exist |
        user does not exist | user doesnt exist | user .. does not exist | user .. doesnt exist |
        user not listed | user name is wrong | username .. not found | no such user |
        no such person | no such recipient | no such mailbox | no such address | no such account |
        no such local user | no such email | no such name | no such id | no user by |
        no user named | no user with | no account by that name | no account here |
        no mailbox here | no mailbox by | no mailbox found | no mailbox for | no local mailbox |
        recipient is not valid | not our customer | not a valid mailbox | not a valid user |
        not a valid recipient | not a valid email | not a valid address | not a known user |
        not known at | not known here | is not known to | is not a registered | not our user |
        isnt a valid | is not valid | unknown recipient | unknown address | unknown mailbox |
        unknown account | unknown local part | unknown local user | unknown or illegal user |
        unknown or illegal alias | unknown virtual | unknown addressee | unknown email |
        unknown userid | unknown in | recipient unknown | recipient not found |
        recipient is unknown | recipient does not exist | recipient doesnt exist |
        recipient not exist | recipient .. does not exist | recipient no longer |
        recipient is not known | recipient is invalid | recipient invalid |
        recipient not recognized | recipient .. not found |
        recipient email address is possibly incorrect | mailbox not found | mailbox unknown |
        mailbox does not exist | mailbox doesnt exist | mailbox not exist | mailbox .. not found |
        mailbox .. does not exist | mailbox .. doesnt exist | mailbox invalid |
        mailbox no longer | account not found | account does not exist | account doesnt exist |
        account .. does not exist | account that you tried to reach does not exist |
        account no longer | account unknown | account .. not found | address not found |
        address does not exist | address doesnt exist | address .. does not exist |
        address unknown | address is unknown | address no longer | address not known |
        address not present | address is not valid | address couldnt be found |
        address could not be found | address wasnt found | address was not found |
        address not exist | addressee unknown | email address could not be found |
        couldnt be found or | alias unknown | invalid recipient | invalid mailbox | invalid user |
        invalid address | invalid alias | invalid account | invalid email |
        invalid final delivery userid | invalid to address | illegal alias | illegal user |
        bad destination mailbox | bad destination email | bad recipient | bad address |
        bad mailbox | nonexistent user | nonexistent mailbox | nonexistent recipient |
        non existent user | non existent mailbox | non existent recipient | non existing user |
        non existing mailbox | undeliverable address | unrouteable address | unroutable address |
        unrouteable recipient | undeliverable recipient | name not found | name not recognized |
        not a local user | not in directory | person .. unknown | ambiguous address |
        cant verify the address | could not be found on | destinataire inconnu |
        destinataire invalide | utilisateur inconnu | adresse inconnue | adresse inexistante |
        benutzer unbekannt | empf\u00e4nger unbekannt | unbekannter empf\u00e4nger |
        existiert nicht | usuario desconocido | usuario no existe | no existe |
        destinatario sconosciuto | destinatario inesistente | utente sconosciuto |
        casella inesistente | usu\u00e1rio desconhecido | usuario desconhecido |
        conta inexistente | onbekende gebruiker | has been deleted | no longer exists |
        no longer employed | no longer works | no longer with | no longer valid |
        no longer a valid | no longer in use | no longer in service | no longer here |
        no longer in operation | has left the
        """,
    ),
)
