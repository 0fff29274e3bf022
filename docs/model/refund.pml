/* The refund protocol: two workers, one order, two refunds of one unit each.
 *
 * World   a broker that loses and repeats, a Redis lock that may expire at any time, workers that crash or
 *         pause anywhere, a network that cuts before or after the provider acts, a provider that acts late,
 *         a query that may lie, an outcome that comes later.
 * Ledger  every atomic{} that touches what "the ledger" lists is ONE committed transaction.
 * Time    "the grace is over" is AGED(r). BOUNDED=1: true only when no sender holds an unsent intent for r
 *         and no copy of r is on the wire (the deadlines hold). BOUNDED=0: always true (a sender may be
 *         paused beyond every deadline).
 * Rules   each -DA_xxx leaves one rule out; runs.toml says which counter-example that must give.
 * Code    "-> file: function" names what a step models, below worker/.
 */
#ifndef KIND
#define KIND 1          /* 0 replays a number's answer | 1 refuses it: "number exists" | 2 no deduplication */
#endif
#ifndef BURN
#define BURN 1          /* 1: a declined number stays declined | 0: the decline leaves no record           */
#endif
#ifndef REUSE
#define REUSE 0         /* 1: a number that is on record as declined may execute when it is sent again      */
#endif
#ifndef AMOUNTFIRST
#define AMOUNTFIRST 0   /* 1: the provider checks the amount, and declines, before it deduplicates          */
#endif
#ifndef FORBID
#define FORBID 1        /* the provider answers "busy" while another refund of the order is processing      */
#endif
#ifndef QUERY
#define QUERY 1         /* 0: the provider cannot be asked                                                  */
#endif
#ifndef NOTIFY
#define NOTIFY 0        /* 1: the provider tells by itself, late and repeatedly                             */
#endif
#ifndef PAID
#define PAID 2          /* 2: both refunds fit | 1: the second is accepted only when the first has failed   */
#endif
#ifndef BOUNDED
#define BOUNDED 1
#endif
#ifndef RELEASE
#define RELEASE 0       /* 1: until_accepted, the order is let go in PEND | 0: until_final                  */
#endif
#ifndef MAXSENT
#define MAXSENT 6       /* attempts_max; more than there are faults, so that nothing needs a person         */
#endif
#ifndef NOTFOUNDS
#define NOTFOUNDS 2     /* not_found_needed                                                                 */
#endif
/* How often each fault happens; none of them for ever, or nothing would ever be final. */
#ifndef F_CR
#define F_CR 1          /* crashes of a worker                                                              */
#endif
#ifndef F_EX
#define F_EX 2          /* FALSE expiries (lock or lease) of a live, paused worker; true ones are free      */
#endif
#ifndef F_TO
#define F_TO 1          /* no trustworthy answer                                                            */
#endif
#ifndef F_NE
#define F_NE 1          /* provably never sent                                                              */
#endif
#ifndef F_LO
#define F_LO 1          /* messages that the broker loses                                                   */
#endif
#ifndef F_DU
#define F_DU 1          /* messages that the broker repeats                                                 */
#endif
#ifndef F_LG
#define F_LG 0          /* "not found" of a number that is on record                                        */
#endif
#ifndef F_ND
#define F_ND 0          /* requests that the network repeats                                                */
#endif
#ifndef F_RS
#define F_RS 0          /* resubmissions that somebody asks for                                             */
#endif
#ifndef F_CA
#define F_CA 0          /* cancels that somebody asks for                                                   */
#endif

#define NONE 9
/* states of a refund -> refund.py: State; CASE and CONFL are an open case beside the state */
#define NEW   0
#define QUEUED 1
#define SUBM  2
#define UNKN  3
#define PEND  4
#define SUCC  5
#define FAIL  6
#define CASE  7         /* a person has to look; holds the order                                            */
#define CONFL 8         /* contested: evidence of success after FAIL or CANC, the amount is reserved again  */
#define CANC  9
/* the provider's record of a number */
#define PNONE 0
#define PPROC 1
#define PSUCC 2
#define PDECL 3
/* answers -> refund.py: Verdict */
#define R_OK 1
#define R_DECL 2
#define R_PEND 3
#define R_EXISTS 4
#define R_BUSY 5
#define R_NSENT 6
#define R_UNKNOWN 7

/* the ledger */
byte st[2]; byte att[2];    /* state; number of the latest attempt                                        */
byte sent[2];               /* attempts that may have been sent, closed ones included                     */
byte open[2];               /* bit a: attempt a may have been sent and is not closed (open_sent)          */
bit rej[2];                 /* an attempt was declined (open_sent != sent)                                */
bit known[2]; byte nf[2];   /* the provider knows the number; "not found" answers in a row                */
bit told[2];                /* a notification of a decline is kept                                        */
byte act = NONE;            /* the refund that holds the order (unique index over holds_order)            */
/* the world */
byte lock = NONE;           /* Redis: the worker that has the order's lock                                */
byte mq = 1;                /* broker: messages "work on this order"                                      */
byte wire[2]; byte resp[2]; /* a worker's exchange: refund + 1 on its way; the answer                     */
byte orphan[2];             /* copies on the wire whose sender does not listen any more                   */
byte ps[2]; byte ex[2];     /* the provider: record of the number, how often it was executed              */
byte hold[2]; byte wk[2];   /* ghosts: refund + 1 whose unsent intent a worker holds; that it works on    */
byte cr=F_CR, exq=F_EX, to=F_TO, ne=F_NE, lo=F_LO, du=F_DU, lg=F_LG, nd=F_ND, rs=F_RS, ca=F_CA;

#define BUSYW(r)  (wk[0]==(r)+1 || wk[1]==(r)+1)
#define ONWIRE(r) (wire[0]==(r)+1 || wire[1]==(r)+1 || orphan[r]>0)
#define COPIES(r) ((wire[0]==(r)+1) + (wire[1]==(r)+1) + orphan[r])
#if BOUNDED
#define AGED(r) (hold[0]!=(r)+1 && hold[1]!=(r)+1 && !ONWIRE(r))
#else
#define AGED(r) (1)
#endif
/* what may still make the provider do something, or is processed there */
#define LIVE(r)  (ONWIRE(r) || (!RELEASE && ps[r]==PPROC))
#define FRESH(r) ((ONWIRE(r) && ps[r]==PNONE) || (!RELEASE && ps[r]==PPROC))
#define WORK ((act==NONE && (st[0]==QUEUED || st[1]==QUEUED)) || (act!=NONE && st[act]==QUEUED))
#define GONE(r) (st[r]==NEW || st[r]==FAIL || st[r]==CANC)       /* reserves nothing of the order         */

/* ---- what must hold; names as in README.md ---- */
inline check_send(r) {
#ifdef ONLYMONEY
  skip
#else
#if BOUNDED && !defined(I3WEAK)
  assert(!(LIVE(0) && LIVE(1)));           /* one-at-a-time                                               */
#ifndef ANYCOPIES
  assert(F_ND>0 || COPIES(r)<=1);          /* one-live-request                                            */
#endif
#else
  assert(!(FRESH(0) && FRESH(1)));         /* one-at-a-time: a late copy may overlap only as a dead one   */
#endif
#endif
}
inline execute(r) {
  ex[r]++;
  assert(ex[r]<=1);                        /* executed-once                                               */
  assert(ex[0]+ex[1]<=PAID);               /* never-beyond-paid                                           */
#ifndef ONLYMONEY
  assert(st[r]!=FAIL && st[r]!=CANC);      /* failed-is-final                                             */
#endif
}
inline check_failed(r) {
#ifdef ONLYMONEY
  skip
#else
  assert(ex[r]==0);                        /* failed-is-not-executed                                      */
#endif
}

/* ---- the provider ---- */
inline process(r, o) {                     /* one copy, atomically                                        */
  if
  :: AMOUNTFIRST && ex[0]+ex[1]>=PAID -> o=R_DECL
  :: !(AMOUNTFIRST && ex[0]+ex[1]>=PAID) && KIND!=2 && ps[r]!=PNONE && !(REUSE && ps[r]==PDECL) ->
     if
     :: KIND==1 -> o=R_EXISTS
     :: KIND==0 && ps[r]==PSUCC -> o=R_OK
     :: KIND==0 && ps[r]==PPROC -> o=R_PEND
     :: KIND==0 && ps[r]==PDECL -> o=R_DECL
     fi
  :: else ->
     if
     :: FORBID && ps[1-r]==PPROC -> o=R_BUSY
     :: !(FORBID && ps[1-r]==PPROC) ->
        if
        :: ps[r]=PSUCC; o=R_OK; execute(r)
        :: ps[r]!=PPROC -> ps[r]=PPROC; o=R_PEND
        :: ps[r]==PNONE || (REUSE && ps[r]==PDECL) -> ps[r]=(BURN -> PDECL : PNONE); o=R_DECL
        fi
     fi
  fi
}
proctype Provider() {
  byte o, x;
end_p:
  do
  :: atomic { wire[0]!=0 -> x=wire[0]-1; process(x, o); wire[0]=0; resp[0]=o; o=0; x=0 }
  :: atomic { wire[1]!=0 -> x=wire[1]-1; process(x, o); wire[1]=0; resp[1]=o; o=0; x=0 }
  :: atomic { orphan[0]>0 -> orphan[0]--; process(0, o); o=0 }
  :: atomic { orphan[1]>0 -> orphan[1]--; process(1, o); o=0 }
  od
}
proctype Settle() {                        /* what was accepted is executed or declined later             */
end_s:
  do
  :: atomic { ps[0]==PPROC -> if :: ps[0]=PSUCC; execute(0) :: ps[0]=PDECL fi }
  :: atomic { ps[1]==PPROC -> if :: ps[1]=PSUCC; execute(1) :: ps[1]=PDECL fi }
  od
}

/* ---- decisions ---- */
inline release(r) { if :: act==r -> act=NONE :: else fi; nf[r]=0 }
inline set_succ(r) {                       /* -> decisions/finality.py: absorb; from any attempt  */
  if
  :: st[r]==FAIL || st[r]==CANC -> st[r]=CONFL
  :: st[r]!=FAIL && st[r]!=CANC && st[r]!=CONFL -> st[r]=SUCC
  :: else
  fi;
  release(r)
}
inline set_fail(r) { check_failed(r); st[r]=FAIL; open[r]=0; rej[r]=1; release(r) }
inline queue_again(r) {                    /* QUEUED holds the order while an attempt is open             */
  st[r]=QUEUED; if :: open[r]==0 -> release(r) :: else fi
}
inline accepted(r) {                       /* -> decisions/answers.py: accepted                                */
  known[r]=1; nf[r]=0; st[r]=PEND; if :: RELEASE -> release(r) :: else fi
}
/* -> decisions/answers.py: _close_attempt. While the provider says pending, the last open attempt stays open. */
inline close_attempt(r, a, o, closed) {
  if
  :: (o==R_DECL || o==R_NSENT || o==R_BUSY) && ((open[r]>>a)&1) && !(st[r]==PEND && open[r]==(1<<a)) ->
       closed=1; open[r]=open[r]-(1<<a);
       if :: o==R_DECL -> rej[r]=1 :: else -> sent[r]-- fi
  :: else
  fi
}
inline note_late(r, closed) {              /* -> decisions/answers.py: _note_late                         */
  if
  :: closed && st[r]==UNKN && open[r]==0 -> set_fail(r)
  :: closed && st[r]==SUCC && open[r]==0 -> assert(false)        /* no-false-alarm                        */
  :: else
  fi
}
inline answered(r, o) {                    /* -> decisions/answers.py: _queued_again, _answered, _rejected */
  if
  :: o==R_NSENT -> queue_again(r)
  :: o==R_BUSY  -> queue_again(r); if :: att[r]>0 -> att[r]-- :: else fi  /* keeps the numbers few        */
  :: o==R_PEND  -> accepted(r)
#ifdef A_OPENFINAL                         /* a rejection is final though an earlier attempt is open      */
  :: o==R_DECL -> set_fail(r)
#else
  :: o==R_DECL && open[r]==0 -> set_fail(r)
  :: o==R_DECL && open[r]!=0 -> known[r]=1; st[r]=UNKN
#endif
#ifdef A_EXISTSFAIL                        /* "number exists" means failed                                */
  :: o==R_EXISTS -> set_fail(r)
#else
  :: o==R_EXISTS -> known[r]=1; st[r]=UNKN
#endif
#ifdef A_RESEND                            /* no answer: send again at once                               */
  :: o==R_UNKNOWN -> st[r]=QUEUED
#elif defined(A_NEWNUMBER)                 /* ... under a fresh number, which the provider does not know  */
  :: o==R_UNKNOWN -> st[r]=QUEUED; ps[r]=PNONE
#else
  :: o==R_UNKNOWN -> st[r]=UNKN
#endif
  fi
}
/* T3 counts for the latest attempt, in SUBM, or in UNKN: a definite answer after the reaper. */
#ifdef A_NOCAS                             /* neither attempt nor state is compared                       */
#define CURRENT (1)
#elif defined(A_NOJOURNAL)
#define CURRENT (st[r]==QUEUED)
#elif defined(A_OLDATTEMPT)                /* the attempt is not compared                                 */
#define CURRENT (st[r]==SUBM || st[r]==UNKN)
#else
#define CURRENT (att[r]==a && (st[r]==SUBM || st[r]==UNKN))
#endif
#ifdef A_NOJOURNAL
#define STILL (st[r]==QUEUED)
#else
#define STILL (st[r]==SUBM && att[r]==a)
#endif

/* ---- submit -> steps/submit.py ---- */
inline unlock(w)  { if :: lock==w -> lock=NONE :: else fi }      /* compare and delete                    */
inline die(w) {                            /* what was in memory is gone; lock and lease are not released */
  cr--; if :: wire[w]!=0 -> orphan[wire[w]-1]++; wire[w]=0 :: else fi;
  resp[w]=0; hold[w]=0; wk[w]=0
}
proctype Worker(byte w) {
  byte r=NONE, a, o; bit closed;
idle:
  atomic { r=NONE; a=0; o=0; closed=0 };
end_w:
  atomic {                                 /* a message is only a hint: lost, repeated, late              */
    mq>0 ->
    if
    :: mq--
    :: du>0 -> du--
    fi;
    if
    :: skip
    :: lo>0 -> lo--; goto idle
    fi
  }
  if                                       /* -> order_lock.py: try_hold; without waiting                 */
  :: atomic { lock==NONE -> lock=w }
  :: atomic { lock!=NONE -> goto idle }
  fi;
  atomic {                                 /* T1 -> submit.py: claim_next; decisions/answers.py: begin    */
#ifdef A_LOCKONLY                          /* only the Redis lock keeps refunds of an order apart         */
    if
    :: st[0]==QUEUED -> r=0
    :: st[0]!=QUEUED && st[1]==QUEUED -> r=1
    :: else -> unlock(w); goto idle
    fi;
#else
    if
    :: act==NONE && st[0]==QUEUED -> r=0
    :: act==NONE && st[0]!=QUEUED && st[1]==QUEUED -> r=1
    :: act!=NONE && st[act]==QUEUED -> r=act
    :: else -> unlock(w); goto idle
    fi;
#endif
#ifdef A_NOJOURNAL                         /* the intent is kept in memory only                           */
    a=att[r]; hold[w]=r+1; wk[w]=r+1;
#else
    act=r; att[r]++; sent[r]++; a=att[r]; assert(a<8); open[r]=open[r]+(1<<a);
    nf[r]=0; st[r]=SUBM; hold[w]=r+1; wk[w]=r+1;
#endif
  }
  if                                       /* T2 -> submit.py: _last_check; before the first byte         */
  :: atomic { STILL -> skip }
  :: atomic { !STILL -> hold[w]=0; o=R_NSENT; goto record }
  :: atomic { cr>0 -> die(w); goto idle }
  fi;
  if                                       /* the sender may pause between T2 and this                    */
  :: atomic { wire[w]=r+1; hold[w]=0; resp[w]=0; check_send(r);
              if :: skip :: nd>0 -> nd--; orphan[r]++ fi }
  :: atomic { ne>0 -> ne--; hold[w]=0; o=R_NSENT; goto record }
  :: atomic { cr>0 -> die(w); goto idle }
  fi;
  if                                       /* -> submit.py: call_provider                                 */
  :: atomic { resp[w]!=0 -> o=resp[w]; resp[w]=0 }
  :: atomic { to>0 -> to--; o=R_UNKNOWN; resp[w]=0;    /* before or after the provider acted              */
              if :: wire[w]!=0 -> orphan[r]++; wire[w]=0 :: else fi }
  :: atomic { cr>0 -> die(w); goto idle }
  fi;
record:
  if
  :: atomic { cr>0 -> die(w); goto idle }
  :: atomic {                              /* T3 -> settle.py: settle; decisions/answers.py: decide_answer*/
       if
       :: o==R_OK -> assert(ex[r]>=1); set_succ(r)
       :: else ->
          close_attempt(r, a, o, closed);
          if :: CURRENT -> answered(r, o) :: else -> note_late(r, closed) fi
       fi;
       wk[w]=0; unlock(w);
       if :: WORK && mq==0 -> mq=1 :: else fi              /* -> turn.py: has_work                       */
     }
  fi;
  goto idle
}

/* ---- beat ---- */
#ifndef A_NOSWEEP
proctype Sweeper() { end_d: do :: atomic { mq==0 && WORK -> mq=1 } od }  /* -> sweep.py: sweep            */
#endif
proctype Reaper() {                        /* -> sweep.py: _reap_one; decisions/answers.py: reap          */
end_r:
  do
  :: atomic { act!=NONE && st[act]==SUBM && (!BUSYW(act) || exq>0) ->
       if :: BUSYW(act) -> exq-- :: else fi;
#ifdef A_RESCUE                            /* what is stuck is run again                                  */
       st[act]=QUEUED
#else
       st[act]=UNKN
#endif
     }
#ifdef A_LOCKONLY
  :: atomic { act!=0 && st[0]==SUBM && !BUSYW(0) -> st[0]=UNKN }
#endif
  od
}
proctype LockExpiry() {
end_l:
  do
  :: atomic { lock!=NONE && (wk[lock]==0 || exq>0) -> if :: wk[lock]!=0 -> exq-- :: else fi; lock=NONE }
  od
}
#ifdef A_AGEATAPPLY                        /* the grace is judged when the answer is applied              */
#define GRACE AGED(r)
#elif defined(A_NOGRACE)
#define GRACE (1)
#else
#define GRACE g
#endif
#ifdef A_DECLINENOW                        /* a queried decline counts within the grace as well           */
#define DECLINED (1)
#else
#define DECLINED (att[r]<=1 || GRACE)
#endif
#define ASKABLE(r) (st[r]==UNKN || st[r]==PEND || (st[r]==FAIL && ps[r]==PSUCC))
#define SAMEQ ((st[r]==UNKN || st[r]==PEND) && att[r]==a)
proctype Poller() {                        /* -> steps/poll.py                                            */
  byte r=0, q, a; bit g;
end_q:
  do
  :: atomic { ASKABLE(0) || ASKABLE(1) ->  /* -> poll.py: _claim, ask                                     */
       if :: !ASKABLE(r) -> r=1-r :: else fi;
       a=att[r]; g=AGED(r);
       if
       :: q=ps[r]
       :: lg>0 && ps[r]!=PNONE -> lg--; q=PNONE
       fi }
     atomic {                              /* -> poll.py: apply; decisions/questions.py: decide_question  */
       if
       :: q==PSUCC -> set_succ(r)
       :: q!=PSUCC && !SAMEQ -> skip
       :: q==PDECL && SAMEQ -> if :: DECLINED -> set_fail(r) :: else fi     /* -> questions.py: _declined               */
       :: q==PPROC && SAMEQ -> accepted(r)
       :: q==PNONE && SAMEQ -> /* -> questions.py: _not_found */
            if
#ifdef A_NOTFOUNDFAIL                      /* "not found" means failed                                    */
            :: st[r]==UNKN -> set_fail(r)
            :: else
#else
            :: st[r]==PEND || known[r] -> skip         /* vanished: a case beside it, asking goes on      */
            :: st[r]==UNKN && !known[r] && !(GRACE) -> skip
            :: st[r]==UNKN && !known[r] && GRACE && nf[r]+1<NOTFOUNDS -> nf[r]++
            :: st[r]==UNKN && !known[r] && GRACE && nf[r]+1>=NOTFOUNDS ->
               nf[r]=0;
               if
               :: sent[r]<MAXSENT -> st[r]=QUEUED      /* again, under the same number                    */
#ifdef A_NOTFOUNDCLOSES                    /* "not found" closes what was sent                            */
                  ; open[r]=0
#endif
               :: else -> st[r]=CASE                   /* not_resendable                                  */
               fi
#endif
            fi
       fi;
       q=0; a=0; g=0; r=1-r;
       if :: WORK && mq==0 -> mq=1 :: else fi
     }
  od
}

/* ---- what comes from outside ---- */
#ifdef A_TOLDANY                           /* a told decline counts though an attempt was declined before */
#define TOLD(r) (told[r] && (st[r]==UNKN || st[r]==PEND) && AGED(r))
#else
#define TOLD(r) (told[r] && (st[r]==UNKN || st[r]==PEND) && AGED(r) && !rej[r])
#endif
#define TELLS(r) (ps[r]==PSUCC && st[r]!=SUCC && st[r]!=CONFL)
proctype Notifier() {                      /* -> steps/notify.py; notifications.py: decide_notification       */
end_n:
  do
  :: atomic { TELLS(0) -> set_succ(0) }
  :: atomic { TELLS(1) -> set_succ(1) }
#if !QUERY                                 /* -> notifications.py: _told_declined; notify.py: look_again      */
  :: atomic { ps[0]==PDECL && !told[0] -> told[0]=1 }
  :: atomic { ps[1]==PDECL && !told[1] -> told[1]=1 }
  :: atomic { TOLD(0) -> set_fail(0) }
  :: atomic { TOLD(1) -> set_fail(1) }
#endif
  od
}
proctype Intake() {                        /* -> intake.py: accept; the amount is reserved or refused     */
end_i:
  atomic { (PAID==2 || GONE(0)) -> st[1]=QUEUED; if :: mq==0 -> mq=1 :: else fi }
}
#ifdef A_NORESERVE                         /* a resubmission does not reserve the amount again            */
#define FITS(r) (1)
#else
#define FITS(r) (PAID==2 || GONE(1-(r)))
#endif
#ifdef A_CANCELSENT                        /* what may have been sent can be canceled                     */
#define UNSENT(r) (1)
#else
#define UNSENT(r) (open[r]==0)
#endif
inline cancel(r) { ca--; check_failed(r); st[r]=CANC; release(r) }
proctype Commands() {                      /* -> steps/command.py: resubmit_refund, cancel_refund         */
end_c:
  do
  :: atomic { rs>0 && st[0]==FAIL && FITS(0) -> rs--; st[0]=QUEUED }
  :: atomic { rs>0 && st[1]==FAIL && FITS(1) -> rs--; st[1]=QUEUED }
  :: atomic { ca>0 && st[0]==QUEUED && UNSENT(0) -> cancel(0) }
  :: atomic { ca>0 && st[1]==QUEUED && UNSENT(1) -> cancel(1) }
  od
}
init { atomic {
  st[0]=QUEUED;
  run Worker(0); run Worker(1); run Provider(); run Settle();
#ifndef A_NOSWEEP
  run Sweeper();
#endif
  run Reaper(); run LockExpiry(); run Intake();
#if QUERY
  run Poller();
#endif
#if NOTIFY
  run Notifier();
#endif
#if F_RS || F_CA
  run Commands();
#endif
} }

/* ---- that everything ends: settled without a person, or at least in a case ---- */
#define SETTLED(r) (st[r]==SUCC || st[r]==FAIL || st[r]==CANC)
#define ENDED(r) (SETTLED(r) || st[r]==CASE || st[r]==CONFL)
#ifdef MON                                 /* when nothing can move any more                              */
active proctype Mon() { end_m: timeout ->
  assert(MON==1 -> ENDED(0) && (ENDED(1) || st[1]==NEW || st[0]==CASE)     /* everything-ends             */
                 : SETTLED(0) && (SETTLED(1) || st[1]==NEW)) }
#endif
#ifdef LTL
ltl settles { <> [] (SETTLED(0) && (SETTLED(1) || st[1]==NEW)) }
#endif
