"""What a user of this host got: `first_mail.py MAILBOX DNS_RECORDS DOMAIN`.

The libraries are those of the package; Fletching itself is not used.
"""

import email
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, "/usr/lib/fletching/python")

import dkim

path, records, domain = sys.argv[1:]
# local(8) puts a line `From ` and header fields above the mail.
_, _, raw = Path(path).read_bytes().partition(b"\n")
stored = email.message_from_bytes(raw)
assert "X-GreenArrow-MailClass" not in stored, "a control header was delivered"
assert "X-Fletching-Route" not in stored
assert stored["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
assert f"<https://click.{domain}/" in re.sub(r"\s", "", stored["List-Unsubscribe"])
assert stored["X-Mailer-Info"]
assert re.match(r"<bounces\+.+@", stored["Return-Path"]), stored["Return-Path"]

answers = {}
for line in Path(records).read_text().splitlines():
    answers[line.split()[0].encode()] = "".join(re.findall(r'"([^"]*)"', line)).encode()
verified = dkim.verify(raw.replace(b"\n", b"\r\n"), dnsfunc=lambda name, timeout=5: answers[name])
assert verified, "DKIM failed"

body = stored.get_payload(decode=True).decode()
(link,) = re.findall(rf'href="https://click\.{re.escape(domain)}(/click\?[\w-]+)"', body)
curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{redirect_url}"]
address = f"http://127.0.0.1:8090{link}"
done = subprocess.run(
    [*curl, "--header", f"Host: click.{domain}", address], capture_output=True, text=True
)
assert done.stdout == f"https://www.{domain}/1?a=b", done.stdout
print("the mail arrived, signed and tracked")
