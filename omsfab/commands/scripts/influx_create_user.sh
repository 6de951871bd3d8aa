# create the user with all privileges, told on standard input
# The statement comes on standard input and never stands in any words.
docker exec -i "$1" /usr/bin/influx
