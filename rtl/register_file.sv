// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The register bus and what lives on it: capabilities, control, the firmware's command table, cycle counters, the error
// latch and the interrupt. A read is answered in the next cycle. The first error is kept until it is cleared by a write or
// a soft reset; the halt that it causes lasts until the reset.
module register_file
  import systole_pkg::*;
#(
  parameter int unsigned CORES                     = 1,
  parameter int unsigned ROWS                      = 16,
  parameter int unsigned COLUMNS                   = 16,
  parameter int unsigned TAPS                      = 3,
  parameter int unsigned SCRATCHPAD_BYTES          = 8388608,
  parameter int unsigned BANKS                     = 16,
  parameter int unsigned ACCUMULATORS              = 512,
  parameter int unsigned WEIGHT_PORT_ROWS          = 4,
  parameter int unsigned LINK_MILLIBYTES_PER_CYCLE = 800,
  parameter int unsigned CLOCK_HZ                  = 500000000,
  parameter logic [31:0] TARGET_ID                 = 32'd0
) (
  input  logic        clk_i,
  input  logic        rst_ni,           // power-on; a soft reset is made here
  input  logic        register_write_i,
  input  logic        register_read_i,
  input  logic [11:0] register_address_i,
  input  logic [63:0] register_data_i,
  output logic [63:0] register_data_o,
  output logic        started_o,
  output logic        soft_reset_o,     // one cycle
  output logic        interrupt_o,

  input  logic [7:0]  opcode_i,
  output logic [7:0]  entry_o,

  input  logic        launch_i,
  input  logic        running_i,
  input  logic        still_i,          // the run's clock stands (debug_module)
  input  logic [31:0] token_i,
  input  logic [63:0] cycle_i,
  input  logic [63:0] run_cycles_i,
  input  logic [31:0] frames_i,
  input  logic [2:0]  kind_i [UNITS],   // what each unit does in this cycle
  input  logic        retire_i [UNITS],
  output logic [32*UNITS*COUNTER_KINDS-1:0] retired_count_o, // low halves as a unit's last retired command left them

  input  logic        error_i,          // any of the device's errors, the first by the top's order
  input  logic [7:0]  error_code_i,
  input  logic [7:0]  error_unit_i,
  input  logic [31:0] error_command_i,
  input  logic [31:0] error_detail_i,
  output logic        halt_o,
  output logic        fault_o,          // one pulse, the cycle after the error; the outputs below hold it
  output logic [7:0]  fault_code_o,
  output logic [7:0]  fault_unit_o,
  output logic [31:0] fault_command_o,
  output logic [31:0] fault_detail_o,

  output logic        flip_valid_o,
  output logic [31:0] flip_address_o
);
  localparam int unsigned KINDS = COUNTER_KINDS;

  logic         interrupt_enable_q, pending_q;
  logic         error_q;                 // the latch holds something
  logic [63:0]  scratch_q;               // no reset: nobody else looks at it
  logic [63:0]  table_q [32];            // no reset: the firmware writes all of it before it sets start
  longint unsigned count [UNITS * KINDS]; // private to the block below, which shows them when a command retires

  assign entry_o     = table_q[opcode_i[7:3]][8*opcode_i[2:0]+:8];
  assign interrupt_o = pending_q && interrupt_enable_q;

  logic table_access, counter_access;
  assign table_access   = register_address_i[11:8] == REGISTER_COMMAND_TABLE[11:8] && register_address_i[2:0] == '0;
  assign counter_access = register_address_i[11:8] == REGISTER_COUNTERS[11:8] && register_address_i[2:0] == '0 &&
                          32'(register_address_i[7:3]) < UNITS * KINDS;

  always_ff @(posedge clk_i) begin
    for (int unsigned u = 0; u < UNITS; u++) begin
      if (retire_i[u]) begin
        for (int unsigned k = 0; k < KINDS; k++) retired_count_o[32*(KINDS*u+k)+:32] <= count[KINDS*u+k][31:0];
      end
    end
    if (launch_i || soft_reset_o || !rst_ni) begin
      for (int unsigned i = 0; i < UNITS * KINDS; i++) count[i] = '0;
    end else if (running_i && !still_i && !halt_o) begin
      for (int unsigned u = 0; u < UNITS; u++) count[KINDS*u+32'(kind_i[u])] = count[KINDS*u+32'(kind_i[u])] + 64'd1;
    end

    if (register_read_i) begin
      case (register_address_i)
        REGISTER_IDENTITY:     register_data_o <= {32'd1, IDENTITY};
        REGISTER_TARGET_ID:    register_data_o <= {32'd0, TARGET_ID};
        REGISTER_ARRAY_SHAPE:  register_data_o <= {16'(TAPS), 16'(CORES), 16'(COLUMNS), 16'(ROWS)};
        REGISTER_MEMORY_SHAPE: register_data_o <= {16'(ACCUMULATORS), 16'(BANKS), SCRATCHPAD_BYTES};
        REGISTER_PORT_SHAPE:
          register_data_o <= {CLOCK_HZ, 16'(LINK_MILLIBYTES_PER_CYCLE), 16'(WEIGHT_PORT_ROWS)};
        REGISTER_CONTROL:      register_data_o <= {61'd0, interrupt_enable_q, 1'b0, started_o};
        REGISTER_STATUS:       register_data_o <= {token_i, 28'd0, pending_q, error_q, running_i, started_o};
        REGISTER_ERROR:
          register_data_o <= error_q ? {fault_command_o, 8'd0, 8'd0, fault_unit_o, fault_code_o} : '0;
        REGISTER_ERROR_DETAIL: register_data_o <= error_q ? {32'd0, fault_detail_o} : '0;
        REGISTER_CYCLE:        register_data_o <= cycle_i;
        REGISTER_RUN_CYCLES:   register_data_o <= run_cycles_i;
        REGISTER_PARITY_FLIP:  register_data_o <= {32'd0, flip_address_o};
        REGISTER_FRAMES:       register_data_o <= {32'd0, frames_i};
        REGISTER_SCRATCH:      register_data_o <= scratch_q;
        default: begin
          if (table_access) register_data_o <= table_q[register_address_i[7:3]];
          else if (counter_access) register_data_o <= count[register_address_i[7:3]];
          else register_data_o <= '0;
        end
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    soft_reset_o <= 1'b0;
    flip_valid_o <= 1'b0;
    fault_o      <= 1'b0;
    if (register_write_i) begin
      if (register_address_i == REGISTER_CONTROL) begin
        started_o          <= register_data_i[0];
        soft_reset_o       <= register_data_i[1];
        interrupt_enable_q <= register_data_i[2];
      end
      if (register_address_i == REGISTER_ERROR) begin
        error_q   <= 1'b0;
        pending_q <= 1'b0;
      end
      if (register_address_i == REGISTER_PARITY_FLIP) begin
        flip_valid_o   <= register_data_i[63:32] == '0;
        flip_address_o <= register_data_i[31:0];
      end
      if (register_address_i == REGISTER_SCRATCH) scratch_q <= register_data_i;
      if (table_access) table_q[register_address_i[7:3]] <= register_data_i;
    end
    if (error_i && !halt_o) begin
      halt_o          <= 1'b1;
      error_q         <= 1'b1;
      pending_q       <= 1'b1;
      fault_o         <= 1'b1;
      fault_code_o    <= error_code_i;
      fault_unit_o    <= error_unit_i;
      fault_command_o <= error_command_i;
      fault_detail_o  <= error_detail_i;
    end
    if (soft_reset_o || !rst_ni) begin
      halt_o    <= 1'b0;
      error_q   <= 1'b0;
      pending_q <= 1'b0;
      fault_o   <= 1'b0;
    end
    if (!rst_ni) begin
      started_o          <= 1'b0;
      soft_reset_o       <= 1'b0;
      interrupt_enable_q <= 1'b0;
      flip_valid_o       <= 1'b0;
      flip_address_o     <= '0;
    end
  end
endmodule
