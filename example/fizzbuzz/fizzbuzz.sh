#!/bin/sh
# Counts to a hundred, as the game says: each line that is printed is a message.
for number in $(seq 100); do
  case $((number % 3)),$((number % 5)) in
    0,0) echo FizzBuzz ;;
    0,*) echo Fizz ;;
    *,0) echo Buzz ;;
    *) echo "$number" ;;
  esac
  sleep "${PAUSE:-0.5}"
done
