"""Recorded sessions in virtual time: what each policy loads, what readers wait for; a report."""
