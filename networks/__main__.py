"""`python -m networks`"""

from networks import renew

renew()
