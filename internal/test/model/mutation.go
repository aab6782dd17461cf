package model

// A mutation is what a mutant changes of the services and of the event store, rather than of the machine.
type mutation struct {
	noIntent          bool // a waiting task is sent without any intent
	repost            bool // a task found submitting is sent again
	blindIntent       bool // the intent is put over whatever is there
	lostAckPermits    bool // an intent without acknowledgement is taken for a permit
	blindOutcome      bool // the outcome is put over whatever is there
	doubtRetried      bool // a lost reply or a 5xx is taken for a refusal
	unsentIsDoubt     bool // a request vetoed by the gate is reported as in doubt
	storeTwice        bool // the event store takes a terminal event again
	eventFirst        bool // events are stored before the record
	ackFirst          bool // messages are acknowledged before their effect is stored
	pollTicketLost    bool // nobody makes sure of the poll ticket
	callbackUnproven  bool // a callback is believed about an attempt that the provider does not have
	callbackUnclaimed bool // a callback is believed although its id is another attempt's
	resolveLate       bool // a resolve command decides about whatever attempt it finds, also one that is younger
}
