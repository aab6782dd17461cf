//go:build unix && !race

package chaos_test

const raceEnabled = false
