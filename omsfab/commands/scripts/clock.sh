# seconds since the epoch, and the offset from UTC
date '+%s.%N %z'
