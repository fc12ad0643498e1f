// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Frames from the host, one after the other (docs/architecture.md, "Frames"): header, checks, waiting for what the frame
// depends on, payload. The payload of `write` and `stream` leaves as whole words; `run` fills the launch descriptor, which
// stays where it is while the run is active; `read` leaves as one request. Beats are registered at the entrance, so that
// ready depends on registers alone.
module frame_parser
  import systole_pkg::*;
#(
  parameter int unsigned COLUMNS          = 16,
  parameter int unsigned SCRATCHPAD_BYTES = 8388608,
  localparam int unsigned WORD            = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,
  input  logic            started_i,
  input  logic            running_i,
  input  logic            room_i,         // for the events of another run

  input  logic            stream_valid_i,
  input  logic [63:0]     stream_data_i,
  output logic            stream_ready_o,

  output logic            word_valid_o,   // payload
  output logic            word_stream_o,  // for the loads; otherwise for word_address_o
  output logic [31:0]     word_address_o,
  output logic [WORD-1:0] word_data_o,
  input  logic            word_ready_i,
  input  logic            writing_i,      // a word is not yet in memory

  output logic            read_valid_o,
  output logic [31:0]     read_tag_o,
  output logic [31:0]     read_address_o,
  output logic [31:0]     read_words_o,
  input  logic            read_ready_i,   // low while the read before it is going on

  output logic            launch_o,       // one pulse; the descriptor is good
  output logic [63:0]     descriptor_o [12],
  output logic [31:0]     frames_o,
  output logic            busy_o,
  output logic            error_o,
  output logic [7:0]      error_code_o,
  output logic [31:0]     error_detail_o
);
  localparam int unsigned WORDS = SCRATCHPAD_BYTES / COLUMNS;
  localparam int unsigned COLUMN_BITS = $clog2(COLUMNS);
  localparam int unsigned RUN_BYTES = 96;

  typedef enum logic [3:0] {
    HeaderLow, HeaderHigh, Check, Wait, Payload, Drain, Descriptor, Regions, Launch, Stopped
  } state_e;
  state_e      state_q;
  logic        beat_valid_q;
  logic [63:0] beat_q;
  logic [31:0] low_q;             // the header's first half, without its tag
  logic [31:0] tag_q, address_q, length_q;
  logic [31:0] words_left_q;      // that have not left yet
  logic [31:0] words_open_q;      // that have not been assembled
  logic [3:0]  step_q;            // beat of a word, beat of the descriptor, region
  logic        half_q;            // COLUMNS 4: the beat's upper word comes next
  logic [31:0] read_low_q, read_high_q;
  logic        read_busy;

  logic [7:0]  kind, flags;
  logic [31:0] words;
  assign kind  = low_q[23:16];
  assign flags = low_q[31:24];
  assign words = length_q >> COLUMN_BITS;
  assign read_busy = !read_ready_i;

  // The first of the header's errors.
  logic [7:0]  bad;
  logic [31:0] bad_detail;
  always_comb begin
    bad = ERROR_NONE;
    bad_detail = length_q;
    if (state_q == Check) begin
      if (low_q[15:0] != FRAME_MAGIC) begin
        bad = ERROR_FRAME_MAGIC;
        bad_detail = low_q;
      end else if (!(kind inside {FRAME_WRITE, FRAME_READ, FRAME_RUN, FRAME_STREAM})) begin
        bad = ERROR_FRAME_KIND;
        bad_detail = 32'(kind);
      end else if (kind == FRAME_RUN) begin
        if (length_q != RUN_BYTES) bad = ERROR_FRAME_LENGTH;
        else if (!started_i) begin
          bad = ERROR_NOT_STARTED;
          bad_detail = tag_q;
        end
      end else if (length_q == '0 || length_q[COLUMN_BITS-1:0] != '0 || length_q > SCRATCHPAD_BYTES) begin
        bad = ERROR_FRAME_LENGTH;
      end else if (kind != FRAME_STREAM && (address_q > WORDS || words > WORDS - address_q)) begin
        bad = ERROR_FRAME_ADDRESS;
        bad_detail = address_q;
      end
    end
  end

  // May the frame go on?
  logic held, go;
  always_comb begin
    case (kind)
      FRAME_RUN:  held = running_i || read_busy || !room_i;
      FRAME_READ: held = (flags[FRAME_FLAG_AFTER_RUN] && running_i) || read_busy;
      FRAME_WRITE:
        held = (flags[FRAME_FLAG_AFTER_RUN] && running_i) ||
               (read_busy && address_q < read_high_q && read_low_q < address_q + words);
      default:    held = 1'b0;
    endcase
    go = state_q == Wait && !held && !halt_i;
  end
  assign read_valid_o   = go && kind == FRAME_READ;
  assign read_tag_o     = tag_q;
  assign read_address_o = address_q;
  assign read_words_o   = words;

  // Payload: beats to words.
  logic taken, room, assembled, beat_used;
  assign taken     = word_valid_o && word_ready_i;
  assign room      = !word_valid_o || taken;
  assign beat_used = beat_valid_q && !halt_i &&
                     (state_q inside {HeaderLow, HeaderHigh, Descriptor} ||
                      (state_q == Payload && words_open_q != '0 && room &&
                       (COLUMNS != 4 || half_q || words_open_q == 32'd1)));
  if (COLUMNS == 4) begin : g_two_words
    assign assembled = state_q == Payload && beat_valid_q && words_open_q != '0 && room && !halt_i;
    always_ff @(posedge clk_i) if (assembled) word_data_o <= half_q ? beat_q[63:32] : beat_q[31:0];
  end else begin : g_beats
    assign assembled = state_q == Payload && beat_used && 32'(step_q) == COLUMNS / 8 - 1;
    always_ff @(posedge clk_i) begin
      if (state_q == Payload && beat_used) word_data_o <= WORD'({beat_q, word_data_o} >> 64);
    end
  end
  assign stream_ready_o = !halt_i && (!beat_valid_q || beat_used);
  assign word_stream_o  = kind == FRAME_STREAM;
  assign word_address_o = address_q;
  assign busy_o         = state_q != HeaderLow || beat_valid_q;

  logic [32:0] region_end;
  assign region_end = {1'b0, descriptor_o[2 + 4'(step_q[2:0])][31:0]} + {1'b0, descriptor_o[2 + 4'(step_q[2:0])][63:32]};

  always_ff @(posedge clk_i) begin
    launch_o <= 1'b0;
    if (stream_valid_i && stream_ready_o) begin
      beat_q <= stream_data_i;
      beat_valid_q <= 1'b1;
    end else if (beat_used) begin
      beat_valid_q <= 1'b0;
    end
    if (assembled) word_valid_o <= 1'b1;
    else if (taken) word_valid_o <= 1'b0;

    if (!halt_i) begin
      case (state_q)
        HeaderLow: if (beat_valid_q) begin
          low_q   <= beat_q[31:0];
          tag_q   <= beat_q[63:32];
          state_q <= HeaderHigh;
        end
        HeaderHigh: if (beat_valid_q) begin
          address_q <= beat_q[31:0];
          length_q  <= beat_q[63:32];
          state_q   <= Check;
        end
        Check: begin
          words_left_q <= words;
          words_open_q <= words;
          step_q       <= '0;
          half_q       <= 1'b0;
          if (bad != ERROR_NONE) begin
            error_o        <= 1'b1;
            error_code_o   <= bad;
            error_detail_o <= bad_detail;
            state_q        <= Stopped;
          end else begin
            frames_o <= frames_o + 1'b1;
            state_q  <= Wait;
          end
        end
        Wait: if (go) begin
          case (kind)
            FRAME_READ: begin
              read_low_q  <= address_q;
              read_high_q <= address_q + words;
              state_q     <= HeaderLow;
            end
            FRAME_RUN: state_q <= Descriptor;
            default:   state_q <= Payload;
          endcase
        end
        Payload: begin
          if (assembled) begin
            words_open_q <= words_open_q - 1'b1;
            step_q       <= '0;
            half_q       <= !half_q;
          end else if (beat_used) begin
            step_q <= step_q + 1'b1;
          end
          if (taken) begin
            words_left_q <= words_left_q - 1'b1;
            address_q    <= address_q + 1'b1;
            if (words_left_q == 32'd1) state_q <= word_stream_o ? HeaderLow : Drain;
          end else if (word_stream_o && !running_i) begin
            error_o        <= 1'b1;
            error_code_o   <= ERROR_STREAM;
            error_detail_o <= words_left_q;
            state_q        <= Stopped;
          end
        end
        Drain: if (!writing_i) state_q <= HeaderLow; // frames are in order: the next one finds these words written
        Descriptor: if (beat_valid_q) begin
          descriptor_o[step_q] <= beat_q;
          step_q <= step_q + 1'b1;
          if (step_q == 4'd11) begin
            step_q  <= '0;
            state_q <= Regions;
          end
        end
        Regions: begin
          step_q <= step_q + 1'b1;
          if (region_end > 33'(WORDS)) begin
            error_o        <= 1'b1;
            error_code_o   <= ERROR_LAUNCH;
            error_detail_o <= 32'(step_q);
            state_q        <= Stopped;
          end else if (step_q == 4'd7) begin
            state_q <= Launch;
          end
        end
        Launch: begin
          if (descriptor_o[0][63:32] == '0 ||
              39'(descriptor_o[0][63:32]) * 39'(COMMAND_BYTES) > 39'(descriptor_o[2][63:32]) * 39'(COLUMNS)) begin
            error_o        <= 1'b1;
            error_code_o   <= ERROR_LAUNCH;
            error_detail_o <= REGIONS;
            state_q        <= Stopped;
          end else begin
            launch_o <= 1'b1;
            state_q  <= HeaderLow;
          end
        end
        default: ;
      endcase
    end
    if (!rst_ni) begin
      state_q      <= HeaderLow;
      beat_valid_q <= 1'b0;
      word_valid_o <= 1'b0;
      error_o      <= 1'b0;
      frames_o     <= '0;
      launch_o     <= 1'b0;
    end
  end
endmodule
